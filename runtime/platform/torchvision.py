"""torchvision and its kin, which vLLM's CPU build pulls in as CUDA builds."""

import sys

from runtime.platform.patches import Patch


def _hide() -> None:
    for name in ("torchvision", "torchaudio", "torchcodec"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


PATCHES = (
    Patch(
        name="torchvision-hidden",
        made_for="torchvision 0.28.0, torchaudio 2.11.0, torchcodec 0.17.0",
        reason="PyPI has them as CUDA builds only; beside a CPU build of torch their import raises "
        "'operator torchvision::nms does not exist', and transformers and vLLM import them when present",
        apply=_hide,
    ),
)
