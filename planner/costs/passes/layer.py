"""Seconds of one micro-batch through one transformer layer, forward and backward, by kind.

What an engine makes of a layer's kernels: how fast they run inside a long job, what of the collectives it
hides, how long its host needs to launch them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.links.collectives import Numbers
from planner.costs.passes.data_parallel import exposed_seconds
from planner.costs.passes.layer_kernels import Cut, LayerKernels, layer_kernels
from planner.costs.setting import Job

KINDS = ("compute", "tensor", "expert", "context", "launch")
"""What a pass through a layer waits for: kernels, exposed collectives of three groups, the host."""

LAUNCH_NORM = 8
"""Launching and computing overlap in a queue of kernels: their maximum, rounded by this norm."""

UNFUSED_SOFTMAX = 1.25
"""Kernels of a layer without a fused softmax over those with one; stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCosts:
    """Seconds of one micro-batch through one layer."""

    forward: NDArray[np.float64]
    """By kind, in the first axis."""
    backward: NDArray[np.float64]
    """The same, without recomputation."""
    core: Numbers
    """Of the forward kernels, those of attention between its projections: what selective mode recomputes."""

    def recomputed(self, recompute: Numbers) -> NDArray[np.float64]:
        """Seconds that recomputation adds to the backward pass: 0 none, 1 selective, 2 full."""
        again = np.where(np.asarray(recompute) == 2, self.forward, 0.0)
        again[0] += np.where(np.asarray(recompute) == 1, self.core, 0.0)
        return again


def layer_costs(
    job: Job,
    *,
    tensor: Numbers,
    context: Numbers = 1,
    expert: Numbers = 1,
    sequences: Numbers,
    is_sparse: bool = False,
) -> LayerCosts:
    """Seconds of ``sequences`` of the job's length through one layer; sizes are numbers or arrays."""
    kernels = layer_kernels(
        job, tensor=tensor, context=context, expert=expert, sequences=sequences, is_sparse=is_sparse
    )
    return engine_layer(job, kernels)


def engine_layer(job: Job, kernels: LayerKernels) -> LayerCosts:
    """What the job's engine makes of a layer's kernels."""
    speeds, overlap = job.speeds, job.stack.tensor_overlap
    core, core_backward = kernels.core / speeds.attention, kernels.core_backward / speeds.attention
    products = np.maximum(kernels.products / speeds.products, kernels.floor)
    once = 1 if job.is_frozen else 2
    products_backward = np.maximum(kernels.products_backward / speeds.products, once * kernels.floor)
    forward = products + kernels.streams / speeds.streams
    backward = products_backward + kernels.streams_backward / speeds.streams
    context = np.asarray(kernels.cut.context)
    host = host_seconds(job, kernels.cut)
    return LayerCosts(
        forward=_by_kind(
            host,
            forward + core,
            exposed_seconds(kernels.tensor, beside=forward, overlap=overlap),
            kernels.expert,
            (context - 1) * np.maximum(0.0, kernels.hop - core / context),
        ),
        backward=_by_kind(
            host,
            backward + core_backward,
            exposed_seconds(kernels.tensor_backward, beside=backward, overlap=overlap),
            kernels.expert,
            (context - 1) * np.maximum(0.0, kernels.hop_backward - core_backward / context),
        ),
        core=core,
    )


def host_seconds(job: Job, cut: Cut) -> Numbers:
    """The host's time to launch the layer one way; ranks of a tensor group wait for the slowest of them.

    Without flash attention, one fused softmax takes heads of sequences in fours (Megatron-LM,
    ``fused_softmax.py``); other numbers take a chain of small kernels.
    """
    host = job.stack.layer_launch * (1 + job.stack.rank_wait * (np.asarray(cut.tensor) - 1))
    if job.stack.flash_attention:
        return host
    rows = np.asarray(cut.sequences) * job.model.heads / cut.tensor
    return host * np.where(rows % 4 == 0, 1.0, UNFUSED_SOFTMAX)


def _by_kind(host: Numbers, *seconds: Numbers) -> NDArray[np.float64]:
    """Kinds in the first axis, the last of them what launching adds to the device's time."""
    device = sum(seconds)
    waiting = (device**LAUNCH_NORM + host**LAUNCH_NORM) ** (1 / LAUNCH_NORM) - device
    return np.stack(np.broadcast_arrays(*seconds, np.maximum(0.0, waiting))).astype(np.float64)
