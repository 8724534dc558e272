"""What each data-parallel rank keeps of a sharded training buffer, tensor by tensor.

`planner.costs.memory.states` counts the fullest rank in closed form; this file follows Megatron-Core's own
layout of the buffer (``param_and_grad_buffer``, 0.16), and so is exact also where alignment leaves gaps.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import lcm

from planner.costs.memory.parameters import embedding_elements, end_tensors, layer_tensors
from planner.costs.memory.rounding import aligned, ceil_div
from planner.costs.memory.states import (
    BUCKET_ALIGNMENT,
    TENSOR_ALIGNMENT,
    States,
    expert_ranks,
    optimizer_bytes,
    stage_layers_of,
    states_at,
)
from planner.costs.passes.data_parallel import Sizes
from planner.costs.setting import Job
from planner.domain.parallelism import Coordinates


def rank_states(job: Job, sizes: Sizes, at: Coordinates) -> States:
    """Bytes of a trained model on one rank of a layout without context and virtual sizes."""
    fullest = states_at(job, sizes, at.pipeline)
    if job.stack.sharding != "optimizer":
        return fullest
    parts = buckets(job, sizes, at.pipeline)
    updated = sum(_part(tensors, ranks, at.data * ranks // sizes.data) for tensors, ranks in parts)
    return replace(fullest, optimizer=updated * optimizer_bytes(job))


def buckets(job: Job, sizes: Sizes, stage: int) -> Iterator[tuple[list[int], int]]:
    """Tensors of each buffer of a stage in their order there, and the ranks that share it.

    Megatron lays a model's tensors out from the last to the first; a tied embedding on two stages and
    experts spread over ranks have buffers of their own.
    """
    tied, shared, experts = _tensors(job, sizes, stage)
    if tied:
        yield [tied], sizes.data
    if experts:
        yield experts[::-1], expert_ranks(sizes)
    yield shared[::-1], sizes.data


def _tensors(job: Job, sizes: Sizes, stage: int) -> tuple[int, list[int], list[int]]:
    """(A tied embedding that another stage holds too, tensors of the rest, of the routed experts)."""
    model, tensor, is_last = job.model, sizes.tensor, stage == sizes.pipeline - 1
    table = embedding_elements(model, tensor, job.stack.vocabulary_multiple)
    before, behind = end_tensors(model, job.head)
    has_tied = job.head == "vocabulary" and model.tied_embeddings and sizes.pipeline > 1
    tied = table if has_tied and (stage == 0 or is_last) else 0
    rest = [*([table] if not tied else []), *before.each(1)] if stage == 0 else []
    layers, experts = _layer_tensors(job, sizes, stage)
    rest += layers
    if is_last:
        rest += behind.each(1)
        rest += [table] if job.head == "vocabulary" and not model.tied_embeddings else []
    return tied, rest, experts


def _layer_tensors(job: Job, sizes: Sizes, stage: int) -> tuple[list[int], list[int]]:
    """(Tensors of a stage's layers, of the experts that are spread over ranks)."""
    model, tensor = job.model, sizes.tensor
    layers = stage_layers_of(job, sizes, stage)
    rest = layers.dense * layer_tensors(model, is_sparse=False).shared.each(tensor)
    if not layers.sparse:
        return rest, []
    layer = layer_tensors(model, is_sparse=True)
    parts = layer.shared.each(tensor)
    experts = ceil_div(layer.experts, sizes.expert) * layer.expert.each(tensor)
    if sizes.expert > 1:
        return rest + layers.sparse * parts, layers.sparse * experts
    behind = len(parts) - layer.behind_experts
    return rest + layers.sparse * [*parts[:behind], *experts, *parts[behind:]], []


def _part(tensors: list[int], ranks: int, rank: int) -> int:
    """Elements of the tensors inside the rank's equal part of the padded buffer."""
    places, end = [], 0
    for size in tensors:
        start = aligned(end, TENSOR_ALIGNMENT)
        end = start + size
        places.append((start, end))
    share = aligned(end, lcm(ranks, BUCKET_ALIGNMENT)) // ranks
    low, high = rank * share, (rank + 1) * share
    return sum(max(0, min(end, high) - max(start, low)) for start, end in places)
