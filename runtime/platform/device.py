"""Which device the processes compute on, and the environment they start with."""

import ctypes
from datetime import timedelta
from typing import Literal

import torch

DeviceKind = Literal["cuda", "cpu"]

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""After which a rank that waits for a dead one gives up."""

_EVERYWHERE = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_ON_CUDA = {
    "CUDA_DEVICE_MAX_CONNECTIONS": "1",
    # vLLM's other ways to reduce read the memory of devices that a process of one device does not see
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
    "VLLM_ALLREDUCE_USE_FLASHINFER": "0",
}
_ON_CPU = {
    # more threads than cores make two processes on two cores a hundred times slower
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # vLLM's steps have ever other shapes, and a kernel of each is kept, a thousand of them by default
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    # inductor would compile for ten seconds what runs for milliseconds
    "TORCH_COMPILE_DISABLE": "1",
}
_WITHOUT_DEVICE = {"CUDA_VISIBLE_DEVICES": ""}
"""Ray hides the devices of a node only from processes that ask for some of them."""


def device_kind() -> DeviceKind:
    """``cuda`` where a CUDA device can be used, ``cpu`` otherwise."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def collective_backend() -> Literal["nccl", "gloo"]:
    """Backend of ``torch.distributed`` for the devices at hand."""
    return "nccl" if device_kind() == "cuda" else "gloo"


def current_device() -> torch.device:
    """Device that tensors of this process live on."""
    return (
        torch.device("cuda", torch.cuda.current_device()) if device_kind() == "cuda" else torch.device("cpu")
    )


def device_memories() -> list[int]:
    """Bytes of each CUDA device that this process sees, as the driver reports them; none on a CPU."""
    devices = range(torch.cuda.device_count())
    return [torch.cuda.get_device_properties(device).total_memory for device in devices]


def process_environment(*, is_light: bool = False) -> dict[str, str]:
    """Environment variables that a worker process must have before Python starts in it.

    Parameters
    ----------
    is_light
        Whether it has no device: then it computes as on a machine without CUDA.
    """
    if is_light:
        return _EVERYWHERE | _ON_CPU | _WITHOUT_DEVICE
    return _EVERYWHERE | (_ON_CUDA if device_kind() == "cuda" else _ON_CPU)


def release_memory() -> None:
    """Give back what this process has freed and keeps for itself; to the device, or to the host on a CPU.

    Without glibc, which is what keeps it on a CPU, nothing.
    """
    if device_kind() == "cuda":
        torch.cuda.empty_cache()
    elif trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
