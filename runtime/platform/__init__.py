"""CUDA and CPU: which is at hand, and what the upstream packages need to run on it."""

import warnings

from runtime.platform import gloo, torchvision
from runtime.platform.device import (
    COLLECTIVE_TIMEOUT,
    DeviceKind,
    collective_backend,
    current_device,
    device_kind,
    device_memories,
    process_environment,
    release_memory,
)
from runtime.platform.patches import apply_once


def enable() -> None:
    """Prepare this process for transformers, Megatron-Core and vLLM; before any of them is imported.

    And before ``torch.distributed`` is initialised.
    """
    warnings.filterwarnings("ignore", module=r"megatron\.core.*")
    apply_once((*torchvision.PATCHES, *gloo.PATCHES))


__all__ = [
    "COLLECTIVE_TIMEOUT",
    "DeviceKind",
    "collective_backend",
    "current_device",
    "device_kind",
    "device_memories",
    "enable",
    "process_environment",
    "release_memory",
]
