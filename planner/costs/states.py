"""Bytes of parameters, gradients and optimizer states on one rank, as the training engine shards them.

Sizes may be numbers or arrays that broadcast; whole numbers stay whole. Equal to Megatron-Core's, padding
included, wherever tensor parallelism divides every tensor (``tests/runtime/engines/test_static_bytes.py``).
"""

from dataclasses import dataclass

import numpy as np

from planner.costs.data_parallel import Sizes
from planner.costs.optimizer import MASTER_BYTES
from planner.costs.parameters import embedding_elements, end_tensors, layer_tensors
from planner.costs.rounding import Numbers, aligned, by_size, ceil_div
from planner.costs.setting import Job
from planner.costs.stages import dense_layers_at, layers_at

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

    dense: Numbers
    """Held alike by all data and context ranks."""
    tied: Numbers
    """Of a tied embedding that two stages share, in a buffer of its own."""
    experts: Numbers

    @property
    def all(self) -> Numbers:
        return self.dense + self.tied + self.experts


def elements_at(job: Job, sizes: Sizes, stage: Numbers, *, align: int = 1) -> Elements:
    """Parameters of one rank of a stage, each tensor rounded up to ``align``."""
    model = job.model
    place = {"pipeline": sizes.pipeline, "virtual": sizes.virtual, "stage": stage}
    dense_layers = dense_layers_at(model.layers, model.dense_layers, **place)
    dense = dense_layers * _layer_elements(job, sizes, align, is_sparse=False)
    experts: Numbers = 0
    if model.moe:
        sparse_layers = layers_at(model.layers, **place) - dense_layers
        dense = dense + sparse_layers * _layer_elements(job, sizes, align, is_sparse=True)
        experts = sparse_layers * _expert_elements(job, sizes, align)
    ends, tied = _end_elements(job, sizes, stage, align)
    return Elements(dense=dense + ends, tied=tied, experts=experts)


def states_at(job: Job, sizes: Sizes, stage: Numbers) -> States:
    """What one rank of a stage keeps of a trained model."""
    if job.is_frozen:
        return frozen_states(job, sizes, stage)
    plain = elements_at(job, sizes, stage)
    ranks = sizes.data * sizes.context
    if job.stack.sharding == "optimizer":
        return _buffered(job, sizes, plain, elements_at(job, sizes, stage, align=TENSOR_ALIGNMENT), ranks)
    shared, experts = plain.dense + plain.tied, plain.experts
    part = ceil_div(shared, ranks) + ceil_div(experts, expert_ranks(sizes))
    whole = shared + experts
    if job.stack.sharding == "none":
        return _states(job, parameters=whole, gradients=whole, updated=whole)
    if job.stack.sharding == "gradients":
        return _states(job, parameters=whole, gradients=part, updated=part)
    moments = MASTER_BYTES["fp32"]
    return States(
        parameters=part * 4, gradients=part * job.stack.gradient_bytes, optimizer=part * moments
    )  # the fp32 shard is the master copy; layers are gathered from it


def frozen_states(job: Job, sizes: Sizes, stage: Numbers) -> States:
    """Parameters alone, of a model that is not trained; sharded only by full sharding."""
    plain = elements_at(job, sizes, stage)
    held = plain.all
    if job.stack.sharding == "full":
        shared = ceil_div(plain.dense + plain.tied, sizes.data * sizes.context)
        held = shared + ceil_div(plain.experts, expert_ranks(sizes))
    return States(parameters=held * job.element_bytes, gradients=0 * held, optimizer=0 * held)


def optimizer_bytes(job: Job) -> int:
    """Of one parameter's states where it is updated."""
    if job.precision == "fp32":
        return MASTER_BYTES["fp32"]
    return job.stack.optimizer_bytes or MASTER_BYTES[job.precision]


def expert_ranks(sizes: Sizes) -> Numbers:
    """Ranks that hold the same experts: d c / e, as experts are cut over the tensor group like all else."""
    return np.maximum(1, sizes.data * sizes.context // sizes.expert)


def _buffered(job: Job, sizes: Sizes, plain: Elements, padded: Elements, ranks: Numbers) -> States:
    """Megatron's distributed optimizer: parameters and gradients in padded buffers, states cut over ranks.

    Experts share the buffer of the rest unless they are spread over ranks.
    """
    apart = np.greater(sizes.expert, 1) if job.model.moe else np.False_
    groups = [(plain.dense + plain.experts * ~apart, padded.dense + padded.experts * ~apart, ranks)]
    if job.model.tied_embeddings:
        groups.append((plain.tied, padded.tied, ranks))
    if job.model.moe:
        groups.append((plain.experts * apart, padded.experts * apart, expert_ranks(sizes)))
    length: Numbers = 0
    updated: Numbers = 0
    for real, spaced, members in groups:
        buffer = aligned(spaced, by_size(lambda count: np.lcm(count, BUCKET_ALIGNMENT), members))
        length = length + buffer
        updated = updated + np.minimum(real, buffer // members)
    return _states(job, parameters=length, gradients=length, updated=updated)


def _states(job: Job, *, parameters: Numbers, gradients: Numbers, updated: Numbers) -> States:
    return States(
        parameters=parameters * job.element_bytes,
        gradients=gradients * job.stack.gradient_bytes,
        optimizer=updated * optimizer_bytes(job),
    )


def _layer_elements(job: Job, sizes: Sizes, align: int, *, is_sparse: bool) -> Numbers:
    tensors = layer_tensors(job.model, is_sparse=is_sparse).shared
    return by_size(lambda tensor: tensors.elements(tensor, align=align), sizes.tensor)


def _expert_elements(job: Job, sizes: Sizes, align: int) -> Numbers:
    """Routed experts of one layer on one rank."""
    layer = layer_tensors(job.model, is_sparse=True)
    one = by_size(lambda tensor: layer.expert.elements(tensor, align=align), sizes.tensor)
    return ceil_div(layer.experts, sizes.expert) * one


def _end_elements(job: Job, sizes: Sizes, stage: Numbers, align: int) -> tuple[Numbers, Numbers]:
    """(Embeddings, last norm and head of a stage; of those a tied embedding that another stage holds too)."""
    model, last = job.model, sizes.pipeline - 1
    is_first, is_last = np.equal(stage, 0), np.equal(stage, last)
    before, behind = end_tensors(model, job.head)
    ends = is_first * before.elements(1, align=align) + is_last * behind.elements(1, align=align)
    table = by_size(
        lambda tensor: aligned(embedding_elements(model, tensor, job.stack.vocabulary_multiple), align),
        sizes.tensor,
    )
    if job.head == "scalar":
        return ends + is_first * table, 0 * table
    if not model.tied_embeddings:
        return ends + (is_first * 1 + is_last) * table, 0 * table
    alone = np.equal(last, 0)
    shared = (is_first | is_last) * table
    return ends + shared * alone, shared * ~alone
