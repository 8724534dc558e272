"""Seconds of one micro-batch through the embedding and the head, forward and backward, by kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels.elementwise import cross_entropy_bytes, elementwise_seconds, embedding_bytes
from planner.costs.kernels.gemm import gemm_backward_seconds, gemm_seconds
from planner.costs.kernels.peaks import peak_flops_per_s
from planner.costs.links.collectives import (
    Numbers,
    all_gather_seconds,
    all_reduce_seconds,
    channel,
    reduce_scatter_seconds,
)
from planner.costs.passes.layer import KINDS
from planner.costs.passes.matrices import padded_vocab
from planner.costs.setting import Job
from planner.domain.model import Precision

LOSS_REDUCTIONS = 3
"""All-reduces of one fp32 number per token: maximum, sum of exponentials, target's logit (1909.08053)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndKernels:
    """Seconds of one micro-batch in the kernels and collectives before and behind the layers."""

    lookup: Numbers
    """In the embedding, as long backward."""
    head: Numbers
    """In the last norm, the head and the loss."""
    head_backward: Numbers
    summing: Numbers
    """Summing partial activations over the tensor group."""
    spreading: Numbers
    """Giving activations whole to every rank of it."""
    loss: Numbers
    """Collectives of the loss."""
    floor: Numbers
    """The head's FLOPs forward at the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCosts:
    """Seconds of one micro-batch before and behind the layers, by kind in the first axis."""

    embedding: NDArray[np.float64]
    embedding_backward: NDArray[np.float64]
    head: NDArray[np.float64]
    head_backward: NDArray[np.float64]


def end_kernels(job: Job, *, tensor: Numbers, context: Numbers = 1, sequences: Numbers) -> EndKernels:
    """Seconds of ``sequences`` of the job's length in the embedding, and in head and loss.

    Both are cut over the vocabulary (Megatron-LM, 1909.08053, section 3).
    """
    tokens = np.asarray(sequences) * job.tokens / context
    lookup = embedding_bytes(tokens, job.model.hidden, job.element_bytes)
    summing, spreading = _boundary_seconds(job, tensor, tokens)
    head, head_backward = _head_seconds(job, tensor, tokens)
    loss_on = channel(job.node_pool, size=tensor, stride=1, devices=job.node_pool.devices)
    rows = padded_vocab(job.model, tensor, job.stack.vocabulary_multiple) if job.head == "vocabulary" else 0
    flops = 2.0 * tokens * rows * job.model.hidden
    return EndKernels(
        lookup=elementwise_seconds(job.device, lookup, kernels=2),
        head=head,
        head_backward=head_backward,
        summing=summing,
        spreading=spreading,
        loss=LOSS_REDUCTIONS * all_reduce_seconds(loss_on, 4.0 * tokens),
        floor=flops / peak_flops_per_s(job.device, _head_precision(job)),
    )


def engine_ends(job: Job, kernels: EndKernels) -> EndCosts:
    """What the job's engine makes of the ends' kernels."""
    speed, once = job.speeds.ends, 1 if job.is_frozen else 2
    head = np.maximum(kernels.head / speed, kernels.floor)
    head_backward = np.maximum(kernels.head_backward / speed, once * kernels.floor)
    return EndCosts(
        embedding=_by_kind(kernels.lookup / speed, kernels.summing),
        embedding_backward=_by_kind(kernels.lookup / speed, kernels.spreading),
        head=_by_kind(head, kernels.spreading + kernels.loss),
        head_backward=_by_kind(head_backward, kernels.summing),
    )


def end_costs(job: Job, *, tensor: Numbers, context: Numbers = 1, sequences: Numbers) -> EndCosts:
    """Seconds of ``sequences`` of the job's length through the ends; sizes are numbers or arrays."""
    return engine_ends(job, end_kernels(job, tensor=tensor, context=context, sequences=sequences))


def _by_kind(compute: Numbers, tensor: Numbers) -> NDArray[np.float64]:
    nothing = np.zeros_like(np.asarray(compute + tensor, dtype=np.float64))
    return np.stack([nothing + compute, nothing + tensor] + [nothing] * (len(KINDS) - 2))


def _boundary_seconds(job: Job, tensor: Numbers, tokens: Numbers) -> tuple[Numbers, Numbers]:
    """(Summing partial activations, giving them whole to every rank) at either end of the layers."""
    on = channel(job.node_pool, size=tensor, stride=1, devices=job.node_pool.devices)
    moved = tokens * job.model.hidden * job.element_bytes
    if job.stack.sequence_parallel:
        return reduce_scatter_seconds(on, moved), all_gather_seconds(on, moved)
    return all_reduce_seconds(on, moved), np.zeros_like(np.asarray(moved))


def _head_seconds(job: Job, tensor: Numbers, tokens: Numbers) -> tuple[Numbers, Numbers]:
    """Last norm, logits and loss, forward and backward."""
    norm = elementwise_seconds(job.device, 4.0 * tokens * job.model.hidden * job.element_bytes)
    if job.head == "scalar":
        scores = elementwise_seconds(job.device, 2.0 * tokens * job.model.hidden * job.element_bytes)
        return norm + scores, 2 * (norm + scores)
    precision = _head_precision(job)
    rows = padded_vocab(job.model, tensor, job.stack.vocabulary_multiple)
    loss = elementwise_seconds(job.device, cross_entropy_bytes(tokens, rows, job.element_bytes), kernels=6)
    shape = (job.device, tokens, rows, job.model.hidden)
    logits = gemm_seconds(*shape, precision=precision)
    back = logits if job.is_frozen else gemm_backward_seconds(*shape, precision=precision)
    return norm + logits + loss / 2, norm + back + loss / 2


def _head_precision(job: Job) -> Precision:
    """The head computes in 16 bits where layers are in 8."""
    return "bf16" if job.precision == "fp8" else job.precision
