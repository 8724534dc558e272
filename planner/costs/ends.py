"""Seconds of one micro-batch through the embedding and the head, forward and backward, by kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import (
    Numbers,
    all_gather_seconds,
    all_reduce_seconds,
    channel,
    reduce_scatter_seconds,
)
from planner.costs.elementwise import cross_entropy_bytes, elementwise_seconds, embedding_bytes
from planner.costs.gemm import gemm_backward_seconds, gemm_seconds
from planner.costs.layer import KINDS
from planner.costs.matrices import padded_vocab
from planner.costs.setting import Job
from planner.domain.model import Precision

LOSS_REDUCTIONS = 3
"""All-reduces of one fp32 number per token: maximum, sum of exponentials, target's logit (1909.08053)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCosts:
    """Seconds of one micro-batch before and behind the layers, by kind in the first axis."""

    embedding: NDArray[np.float64]
    embedding_backward: NDArray[np.float64]
    head: NDArray[np.float64]
    head_backward: NDArray[np.float64]


def end_costs(job: Job, *, tensor: Numbers, context: Numbers = 1, sequences: Numbers) -> EndCosts:
    """Seconds of ``sequences`` of the job's length through the embedding, and through head and loss.

    Both are cut over the vocabulary (Megatron-LM, 1909.08053, section 3).
    """
    tokens = np.asarray(sequences) * job.tokens / context
    lookup = elementwise_seconds(
        job.device, embedding_bytes(tokens, job.model.hidden, job.element_bytes), kernels=2
    )
    reduce_s, gather_s = _boundary_seconds(job, tensor, tokens)
    head, head_back = _head_seconds(job, tensor, tokens)
    loss_on = channel(job.node_pool, size=tensor, stride=1, devices=job.node_pool.devices)
    loss_s = LOSS_REDUCTIONS * all_reduce_seconds(loss_on, 4.0 * tokens)
    speed = job.stack.sustained
    return EndCosts(
        embedding=_by_kind(lookup / speed, reduce_s),
        embedding_backward=_by_kind(lookup / speed, gather_s),
        head=_by_kind(head / speed, gather_s + loss_s),
        head_backward=_by_kind(head_back / speed, reduce_s),
    )


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
    """Last norm, logits and loss, forward and backward; the head stays in 16 bits under fp8."""
    norm = elementwise_seconds(job.device, 4.0 * tokens * job.model.hidden * job.element_bytes)
    if job.head == "scalar":
        scores = elementwise_seconds(job.device, 2.0 * tokens * job.model.hidden * job.element_bytes)
        return norm + scores, 2 * (norm + scores)
    precision: Precision = "bf16" if job.precision == "fp8" else job.precision
    shard = padded_vocab(job.model, tensor)
    loss = elementwise_seconds(job.device, cross_entropy_bytes(tokens, shard, job.element_bytes), kernels=6)
    shape = (job.device, tokens, shard, job.model.hidden)
    logits = gemm_seconds(*shape, precision=precision)
    back = logits if job.is_frozen else gemm_backward_seconds(*shape, precision=precision)
    return norm + logits + loss / 2, norm + back + loss / 2
