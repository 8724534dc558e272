"""Seconds of the optimizer's update, and of moving its states to host memory and back."""

import numpy as np

from planner.costs.kernels import elementwise
from planner.costs.links.collectives import Numbers
from planner.costs.passes.data_parallel import Shards, Sizes
from planner.costs.setting import Job
from planner.domain.model import Precision

MASTER_BYTES: dict[Precision, int] = {"bf16": 12, "fp16": 12, "fp8": 12, "fp32": 8}
"""Adam's two fp32 moments, and in 16 bits an fp32 master copy (ZeRO, 1910.02054, section 3.1)."""


def state_bytes(job: Job) -> int:
    """Of the optimizer, per parameter."""
    return (job.precision != "fp32" and job.stack.optimizer_bytes) or MASTER_BYTES[job.precision]


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
    moved = 3 * job.stack.gradient_bytes + 2 * state_bytes(job) + job.element_bytes
    return elementwise.optimizer_seconds(job.device, part * moved)


def offload_seconds(job: Job, part: Numbers, weights: Numbers) -> Numbers:
    """States and weights to the device and back, over the link to host memory in either direction."""
    return 2 * onload_seconds(job, part * state_bytes(job) + weights * job.element_bytes)


def onload_seconds(job: Job, moved_bytes: Numbers) -> Numbers:
    """One way over the link to host memory."""
    link = job.device.host_link
    return np.where(np.asarray(moved_bytes) > 0, link.latency + moved_bytes / link.bandwidth, 0.0)
