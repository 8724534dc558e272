"""What the device of a process can do per second, measured while all the other processes do the same."""

import time
from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist

from runtime.platform import current_device
from runtime.workers.call import Answer, Call, Role

MATRIX = 512
"""Side of the multiplied matrices: in cache, as the layers of a small model are."""
COPY_BYTES = 2**25
REDUCE_BYTES = 2**21
SECONDS = 0.3
"""Per measurement."""


def device_roles() -> Mapping[str, Role]:
    """The role ``device``."""
    return {"device": DeviceRates()}


class DeviceRates:
    """Rates of one rank's device and of its links."""

    def rates(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """FLOPs, copied bytes and all-reduced bytes per second; seconds of an empty step of a ring."""
        world, nothing = dist.get_world_size(), torch.zeros(1, device=current_device())
        buffer = torch.zeros(REDUCE_BYTES // 4, device=current_device())
        matrix = torch.rand(MATRIX, MATRIX, device=current_device())
        block = torch.zeros(COPY_BYTES // 4, device=current_device())
        target = torch.empty_like(block)
        flops_per_s = 2 * MATRIX**3 / _seconds(lambda: torch.mm(matrix, matrix))
        copied_per_s = 2 * COPY_BYTES / _seconds(lambda: target.copy_(block))
        small_s = _seconds_together(lambda: dist.all_reduce(nothing))
        large_s = _seconds_together(lambda: dist.all_reduce(buffer))
        steps = max(1, 2 * (world - 1))
        moved = 2 * (world - 1) / world * REDUCE_BYTES
        return Answer(
            metrics={
                "flops_per_s": flops_per_s,
                "memory_bytes_per_s": copied_per_s,
                "link_bytes_per_s": moved / max(large_s - small_s, 1e-9),
                "link_latency_s": small_s / steps,
            }
        )


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of one piece of work, over as many as fit into `SECONDS`, all ranks at it."""
    work()
    dist.barrier()
    start = time.perf_counter()
    count = 0
    while time.perf_counter() - start < SECONDS:
        work()
        count += 1
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def _seconds_together(work: Callable[[], object], repeats: int = 20) -> float:
    """Seconds of one collective, the same number of times on all ranks."""
    work()
    dist.barrier()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats
