"""Training and inference on Megatron-Core, generation on vLLM, and the reshard between them."""

from runtime.platform import enable

# the one side effect at import: upstream has to be made importable first (docs/decisions/platform.md)
enable()
