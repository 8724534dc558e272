"""Seconds of the optimizer's update, and of moving its states to host memory and back."""

import numpy as np

from planner.costs import elementwise
from planner.costs.collectives import Numbers
from planner.costs.data_parallel import Shards, Sizes
from planner.costs.setting import Job
from planner.domain.model import Precision

MASTER_BYTES: dict[Precision, int] = {"bf16": 12, "fp16": 12, "fp8": 12, "fp32": 8}
"""Adam's two fp32 moments, and in 16 bits an fp32 master copy (ZeRO, 1910.02054, section 3.1)."""


def optimizer_part(job: Job, sizes: Sizes, held: Shards) -> Numbers:
    """Parameters that one rank updates: its part where the states are sharded."""
    if job.stack.sharding == "none":
        return held.dense + held.experts
    ranks = np.asarray(sizes.context) * sizes.data
    return held.dense / ranks + held.experts / np.maximum(1, ranks / sizes.expert)


def optimizer_seconds(job: Job, part: Numbers) -> Numbers:
    """Adam on ``part`` parameters: read gradient and states, write states and parameter.

    Beside that, one pass over the gradients for their norm and one that clears them.
    """
    moved = 3 * job.stack.gradient_bytes + 2 * MASTER_BYTES[job.precision] + job.element_bytes
    return elementwise.optimizer_seconds(job.device, part * moved)


def offload_seconds(job: Job, part: Numbers, weights: Numbers) -> Numbers:
    """States and weights to the device and back, over the link to host memory in either direction."""
    moved = part * MASTER_BYTES[job.precision] + weights * job.element_bytes
    return np.where(
        moved > 0, 2 * (job.device.host_link.latency + moved / job.device.host_link.bandwidth), 0.0
    )
