"""Seconds of many micro-batches through the stages of a pipeline: 1F1B, interleaved, forward only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.links.collectives import Channel, Numbers, send_seconds
from planner.costs.memory.stages import fullest_stages, layers_at
from planner.costs.passes.data_parallel import exposed_seconds
from planner.costs.passes.ends import EndCosts
from planner.costs.passes.layer import LayerCosts
from planner.costs.setting import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Seconds of one micro-batch, by kind in the first axis."""

    slowest: NDArray[np.float64]
    """On the stage that sets the pace."""
    all: NDArray[np.float64]
    """On all stages one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """One micro-batch through one layer of either kind and through the ends, by kind in the first axis."""

    dense: NDArray[np.float64]
    sparse: NDArray[np.float64]
    embedding: NDArray[np.float64]
    head: NDArray[np.float64]


def forward_passages(dense: LayerCosts, sparse: LayerCosts, ends: EndCosts) -> Passages:
    """The forward pass alone."""
    return Passages(dense=dense.forward, sparse=sparse.forward, embedding=ends.embedding, head=ends.head)


def training_passages(
    dense: LayerCosts, sparse: LayerCosts, ends: EndCosts, *, recompute: Numbers
) -> Passages:
    """Forward and backward with what is recomputed: 0 nothing, 1 attention's core, 2 every layer."""
    dense_s = dense.forward + dense.backward + dense.recomputed(recompute)
    sparse_s = dense_s
    if sparse is not dense:
        sparse_s = sparse.forward + sparse.backward + sparse.recomputed(recompute)
    return Passages(
        dense=dense_s,
        sparse=sparse_s,
        embedding=ends.embedding + ends.embedding_backward,
        head=ends.head + ends.head_backward,
    )


def slots(job: Job, passages: Passages, *, pipeline: Numbers, virtual: Numbers = 1) -> Slots:
    """One micro-batch on the slowest stage and on all of them.

    The first stage has the embedding, the last the head; layers are cut as the bytes' are
    (`planner.costs.memory.stages.layers_at`), and a stage between can be the slowest where experts begin.
    """
    every = (
        job.model.dense_layers * passages.dense
        + (job.model.layers - job.model.dense_layers) * passages.sparse
        + passages.embedding
        + passages.head
    )
    candidates = fullest_stages(job.model, pipeline=pipeline, virtual=virtual)
    return Slots(slowest=_slowest(job, passages, pipeline, virtual, candidates), all=every)


def _slowest(
    job: Job, passages: Passages, pipeline: Numbers, virtual: Numbers, candidates: tuple[Numbers, ...]
) -> NDArray[np.float64]:
    """Seconds by kind of that candidate whose sum is greatest."""
    parts = (passages.dense, passages.sparse, passages.embedding, passages.head)
    sums = [part.sum(0) for part in parts]
    counts = [_held(job, pipeline, virtual, stage) for stage in candidates]
    best, most = counts[0], _weighted(counts[0], sums)
    for count in counts[1:]:
        total = _weighted(count, sums)
        best = tuple(np.where(total > most, new, old) for new, old in zip(count, best, strict=True))
        most = np.maximum(total, most)
    return np.asarray(_weighted(best, parts), dtype=np.float64)


def _held(job: Job, pipeline: Numbers, virtual: Numbers, stage: Numbers) -> tuple[Numbers, ...]:
    """Dense layers, expert layers, embeddings and heads of a stage."""
    layers = layers_at(job.model, pipeline=pipeline, virtual=virtual, stage=stage)
    is_last = np.equal(stage, np.asarray(pipeline) - 1)
    return layers.dense, layers.sparse, np.equal(stage, 0), is_last


def _weighted(counts: Sequence[Numbers], seconds: Sequence[Any]) -> Any:
    return sum(np.asarray(count) * each for count, each in zip(counts, seconds, strict=True))


def schedule_seconds(
    one: Slots, *, micro_batches: Numbers, virtual: Numbers = 1
) -> tuple[NDArray[np.float64], Numbers]:
    """(Seconds of the slowest stage by kind, seconds that it idles) for all micro-batches.

    Each micro-batch passes the slowest stage once; beside them the pipeline fills and drains through all
    other stages, of which v chunks per device leave 1 / v (Narayanan et al. 2104.04473, section 2.2).
    """
    busy = micro_batches * one.slowest
    return busy, (one.all.sum(0) - one.slowest.sum(0)) / virtual


def hop_seconds(
    job: Job, on: Channel, *, tensor: Numbers, context: Numbers, sequences: Numbers, ways: int = 2
) -> Numbers:
    """One micro-batch's activations to the next stage, and with two ways their gradients back.

    Each tensor rank sends its own part (Narayanan et al. 2104.04473, section 4.1); the host waits for it.
    """
    message = np.asarray(sequences) * job.tokens / context / tensor * job.model.hidden * job.element_bytes
    return ways * (send_seconds(on, message) + np.where(np.asarray(on.size) > 1, job.stack.send, 0.0))


def hops_seconds(
    job: Job,
    hop: Numbers,
    *,
    pipeline: Numbers,
    micro_batches: Numbers,
    virtual: Numbers = 1,
    beside: Numbers = 0.0,
) -> Numbers:
    """Exposed sends between stages.

    1F1B waits for each hop of its micro-batches and of the filling pipeline; interleaved chunks send v times
    as often, and all but those of the filling pipeline run beside computation as far as the stack overlaps.

    Parameters
    ----------
    beside
        Seconds of one micro-batch on the slowest stage; gradients are exchanged beside the last one.
    """
    sends, room = micro_batches * virtual * hop, (micro_batches - 1) * beside
    exposed = exposed_seconds(sends, beside=room, overlap=job.stack.pipeline_overlap)
    return np.where(np.asarray(virtual) > 1, exposed, sends) + hop * (np.asarray(pipeline) - 1)
