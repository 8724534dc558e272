"""What every rank needs, imported once by the fork server, in this order."""

import gc
from importlib import import_module

for _name in (
    "runtime.engines.hybrid",  # first: it makes the upstream packages importable
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.models.llama",
    "vllm.model_executor.models.qwen2",
    "vllm.model_executor.models.qwen3",
    "vllm.model_executor.models.qwen3_moe",
    "tests.runtime.tiny",
    "pytest",
):
    import_module(_name)
gc.freeze()  # collections in the ranks, of which vLLM makes several, need not walk all that
