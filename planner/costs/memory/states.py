"""Bytes of parameters, gradients and optimizer states on one rank, as the training engine shards them.

Sizes may be numbers or arrays that broadcast. Equal to Megatron-Core's, padding included, wherever tensor
parallelism divides every tensor (``tests/runtime/engines/test_static_bytes.py``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.costs.memory.parameters import embedding_elements, end_tensors, layer_tensors
from planner.costs.memory.rounding import Numbers, aligned, by_size, ceil_div, greater, lesser
from planner.costs.memory.stages import Layers, layers_at
from planner.costs.passes.data_parallel import Sizes
from planner.costs.passes.optimizer import MASTER_BYTES
from planner.costs.setting import Job
from planner.domain.model import ModelSpec

TENSOR_ALIGNMENT, BUCKET_ALIGNMENT = 64, 128
"""Elements: where a tensor of a sharded buffer may start, and a multiple of what a buffer's length is beside
the number of its ranks (Megatron-Core 0.16, ``param_and_grad_buffer``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """Bytes on one rank."""

    parameters: Numbers
    gradients: Numbers
    optimizer: Numbers

    @property
    def total(self) -> Numbers:
        return self.parameters + self.gradients + self.optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """Parameters on one rank by the buffer that they lie in."""

    shared: Numbers
    """Held alike by all data and context ranks."""
    tied: Numbers
    """Of a tied embedding that two stages hold, in a buffer of its own."""
    experts: Numbers

    @property
    def all(self) -> Numbers:
        return self.shared + self.tied + self.experts


def states_at(job: Job, sizes: Sizes, stage: Numbers, layers: Layers | None = None) -> States:
    """What one rank of a stage keeps of a trained model.

    Parameters
    ----------
    layers
        Those of the stage, where they are known already.
    """
    if job.is_frozen:
        return frozen_states(job, sizes, stage)
    layers = layers or stage_layers_of(job, sizes, stage)
    plain = elements_at(job, sizes, stage, layers)
    if job.stack.sharding == "optimizer":
        padded = elements_at(job, sizes, stage, layers, align=TENSOR_ALIGNMENT)
        return _buffered(job, sizes, plain, padded)
    whole = plain.all
    if job.stack.sharding == "none":
        return _states(job, parameters=whole, gradients=whole, updated=whole)
    part = _part(plain, sizes)
    if job.stack.sharding == "gradients":
        return _states(job, parameters=whole, gradients=part, updated=part)
    return States(  # the fp32 shard is the master copy; layers are gathered from it
        parameters=part * 4,
        gradients=part * job.stack.gradient_bytes,
        optimizer=part * MASTER_BYTES["fp32"],
    )


def frozen_states(job: Job, sizes: Sizes, stage: Numbers) -> States:
    """Parameters alone, of a model that is not trained; sharded only by full sharding."""
    plain = elements_at(job, sizes, stage, stage_layers_of(job, sizes, stage))
    held = _part(plain, sizes) if job.stack.sharding == "full" else plain.all
    return States(parameters=held * job.element_bytes, gradients=0, optimizer=0)


def elements_at(job: Job, sizes: Sizes, stage: Numbers, layers: Layers, *, align: int = 1) -> Elements:
    """Parameters of one rank of a stage, each tensor rounded up to ``align``."""
    model = job.model
    shared = layers.dense * _layer_elements(model, sizes.tensor, align, is_sparse=False)
    experts: Numbers = 0
    if model.moe:
        shared = shared + layers.sparse * _layer_elements(model, sizes.tensor, align, is_sparse=True)
        experts = layers.sparse * _expert_elements(model, sizes, align)
    ends, tied = _end_elements(job, sizes, stage, align)
    return Elements(shared=shared + ends, tied=tied, experts=experts)


def stage_layers_of(job: Job, sizes: Sizes, stage: Numbers) -> Layers:
    """Layers of a stage of a layout."""
    return layers_at(job.model, pipeline=sizes.pipeline, virtual=sizes.virtual, stage=stage)


def optimizer_bytes(job: Job) -> int:
    """Of one parameter's states where it is updated."""
    if job.precision == "fp32":
        return MASTER_BYTES["fp32"]
    return job.stack.optimizer_bytes or MASTER_BYTES[job.precision]


def expert_ranks(sizes: Sizes) -> Numbers:
    """Ranks that hold the same experts: d c / e, as experts are cut over the tensor group like all else."""
    return greater(sizes.data * sizes.context // sizes.expert, 1)


def _part(plain: Elements, sizes: Sizes) -> Numbers:
    """Elements of one rank where ranks cut among themselves what they hold alike."""
    shared = ceil_div(plain.shared + plain.tied, sizes.data * sizes.context)
    return shared + ceil_div(plain.experts, expert_ranks(sizes))


def _buffered(job: Job, sizes: Sizes, plain: Elements, padded: Elements) -> States:
    """Megatron's distributed optimizer: parameters and gradients in padded buffers, states cut over ranks."""
    length: Numbers = 0
    updated: Numbers = 0
    for real, spaced, ranks in _buffers(job, sizes, plain, padded):
        buffer = aligned(spaced, by_size(_bucket_alignment, ranks))
        length = length + buffer
        updated = updated + lesser(real, ceil_div(buffer, ranks))
    return _states(job, parameters=length, gradients=length, updated=updated)


def _buffers(
    job: Job, sizes: Sizes, plain: Elements, padded: Elements
) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
    """(Elements, the same with gaps, ranks) of each buffer; experts have their own once they are spread."""
    ranks = sizes.data * sizes.context
    if job.model.moe is None:
        yield plain.shared, padded.shared, ranks
    else:
        apart = sizes.expert > 1
        together = 1 - apart
        yield plain.shared + plain.experts * together, padded.shared + padded.experts * together, ranks
        yield plain.experts * apart, padded.experts * apart, expert_ranks(sizes)
    if job.model.tied_embeddings and job.head == "vocabulary":
        yield plain.tied, padded.tied, ranks


def _bucket_alignment(ranks: Numbers) -> Numbers:
    return np.lcm(ranks, BUCKET_ALIGNMENT)


def _states(job: Job, *, parameters: Numbers, gradients: Numbers, updated: Numbers) -> States:
    return States(
        parameters=parameters * job.element_bytes,
        gradients=gradients * job.stack.gradient_bytes,
        optimizer=updated * optimizer_bytes(job),
    )


def _layer_elements(model: ModelSpec, tensor: Numbers, align: int, *, is_sparse: bool) -> Numbers:
    tensors = layer_tensors(model, is_sparse=is_sparse).shared
    return by_size(lambda size: tensors.elements(size, align=align), tensor)


def _expert_elements(model: ModelSpec, sizes: Sizes, align: int) -> Numbers:
    """Routed experts of one layer on one rank."""
    layer = layer_tensors(model, is_sparse=True)
    one = by_size(lambda size: layer.expert.elements(size, align=align), sizes.tensor)
    return by_size(lambda size: ceil_div(layer.experts, size), sizes.expert) * one


def _end_elements(job: Job, sizes: Sizes, stage: Numbers, align: int) -> tuple[Numbers, Numbers]:
    """(Embeddings, last norm and head of a stage; a tied embedding that another stage holds too)."""
    model, multiple = job.model, job.stack.vocabulary_multiple
    is_first, is_last = stage == 0, sizes.pipeline == stage + 1
    before, behind = end_tensors(model, job.head)
    ends = is_last * behind.elements(1, align=align)
    if before.parts:
        ends = ends + is_first * before.elements(1, align=align)
    table = by_size(lambda size: aligned(embedding_elements(model, size, multiple), align), sizes.tensor)
    if job.head == "scalar":
        return ends + is_first * table, 0
    if not model.tied_embeddings:
        return ends + (is_first * 1 + is_last) * table, 0
    alone = sizes.pipeline == 1
    return ends + alone * table, ((is_first | is_last) & (sizes.pipeline > 1)) * table
