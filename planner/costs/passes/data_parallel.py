"""Seconds in which data-parallel ranks exchange gradients and parameters, as far as nothing hides them."""

from dataclasses import dataclass, replace

import numpy as np

from planner.costs.links.collectives import (
    Channel,
    Numbers,
    all_gather_seconds,
    all_reduce_seconds,
    channel,
    group_channel,
    reduce_scatter_seconds,
)
from planner.costs.passes.matrices import Matrix, layer_matrices, padded_vocab
from planner.costs.setting import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Parallel sizes of a layout, each a number or an array."""

    pipeline: Numbers
    tensor: Numbers
    data: Numbers
    virtual: Numbers = 1
    context: Numbers = 1
    expert: Numbers = 1

    @property
    def devices(self) -> Numbers:
        return self.pipeline * self.tensor * self.context * self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """Parameters on one rank."""

    layer: Numbers
    """Of a layer, what all data ranks hold alike."""
    routed: Numbers
    """Of a layer with experts, those of its routed experts."""
    end: Numbers
    """Of the fullest stage, what lies before or behind its layers."""
    dense: Numbers
    """Of the fullest stage, what all data ranks hold alike."""
    experts: Numbers
    """Of the fullest stage, its routed experts'."""


def shards(job: Job, sizes: Sizes) -> Shards:
    """Parameters of the fullest rank; norms and biases are left out."""
    model, tensor = job.model, np.asarray(sizes.tensor)
    sparse = layer_matrices(model, is_sparse=model.moe is not None)
    layer = _parameters(sparse, tensor, is_routed=False)
    experts = model.moe.experts if model.moe else 0
    routed = _parameters(sparse, tensor, is_routed=True) * experts / sizes.expert
    table = padded_vocab(model, tensor, job.stack.vocabulary_multiple) * model.hidden
    tables = 1 + (np.asarray(sizes.pipeline) == 1) * (job.head == "vocabulary" and not model.tied_embeddings)
    layers = np.ceil(model.layers / np.asarray(sizes.pipeline))
    return Shards(
        layer=layer,
        routed=routed,
        end=table * tables,
        dense=layers * layer + table * tables,
        experts=np.minimum(layers, model.expert_layers) * routed,
    )


def _parameters(matrices: tuple[Matrix, ...], tensor: Numbers, *, is_routed: bool) -> Numbers:
    return sum(
        matrix.rows(tensor) * matrix.columns(tensor) for matrix in matrices if matrix.is_routed == is_routed
    )


def data_channel(job: Job, sizes: Sizes) -> Channel:
    """What the ranks get of the links that hold the same parameters: all data and context ranks.

    Where some of a node's devices are in a group, but not all, its ring enters the node at the port of one
    of them and leaves it at that of another, so that each port works one way only.
    """
    on = _data_channel(job, sizes)
    is_one_way = (np.asarray(on.local) > 1) & (on.local < job.node_pool.devices_per_node) & on.crosses
    return replace(on, network_bytes_per_s=on.network_bytes_per_s / np.where(is_one_way, 2.0, 1.0))


def _data_channel(job: Job, sizes: Sizes) -> Channel:
    size = np.asarray(sizes.context) * sizes.data
    node = job.node_pool.devices_per_node
    if job.stack.order == "data-pipeline":
        return channel(job.node_pool, size=size, stride=sizes.tensor, devices=job.node_pool.devices)
    block = np.minimum(sizes.context, np.maximum(1, node // np.asarray(sizes.tensor)))
    replica = np.asarray(sizes.tensor) * sizes.context * sizes.pipeline
    local = np.minimum(size, block * np.maximum(1, node // replica))
    return group_channel(job.node_pool, size=size, local=local, sharing=np.maximum(1, node // local))


def expert_channel(job: Job, sizes: Sizes) -> Channel:
    """The same of ranks that hold the same experts."""
    size = np.maximum(1, np.asarray(sizes.context) * sizes.data // sizes.expert)
    return channel(
        job.node_pool,
        size=size,
        stride=sizes.tensor * np.asarray(sizes.expert),
        devices=job.node_pool.devices,
    )


def pipeline_channel(job: Job, sizes: Sizes) -> Channel:
    """What neighbouring stages get of the links."""
    before = sizes.tensor * np.asarray(sizes.context)
    stride = before * sizes.data if job.stack.order == "data-pipeline" else before
    return channel(job.node_pool, size=sizes.pipeline, stride=stride, devices=job.node_pool.devices)


def exposed_seconds(needed: Numbers, *, beside: Numbers, overlap: float) -> Numbers:
    """What remains of ``needed`` seconds of communication when a share runs ``beside`` computation."""
    return needed - np.minimum(overlap * needed, beside)


def step_exchange_seconds(job: Job, sizes: Sizes) -> Numbers:
    """Once per step: gradients reduced, and where the optimizer is sharded parameters gathered.

    An all-reduce, or the reduce-scatter and all-gather of ZeRO stage 1 (1910.02054, section 5).
    """
    held = shards(job, sizes)
    groups = ((data_channel(job, sizes), held.dense), (expert_channel(job, sizes), held.experts))
    if job.is_frozen:
        return 0.0
    if job.stack.sharding == "none":
        return sum(all_reduce_seconds(on, count * job.stack.gradient_bytes) for on, count in groups)
    return sum(
        reduce_scatter_seconds(on, count * job.stack.gradient_bytes)
        + all_gather_seconds(on, count * job.element_bytes)
        for on, count in groups
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathers:
    """Seconds in which sharded parameters of one layer, and of the ends, are gathered or reduced."""

    layer: Numbers
    layer_reduce: Numbers
    end: Numbers
    end_reduce: Numbers


def gather_seconds(job: Job, sizes: Sizes) -> Gathers:
    """Fully sharded parameters, unit by unit (FSDP, 2304.11277, section 3)."""
    held = shards(job, sizes)
    on, experts_on = data_channel(job, sizes), expert_channel(job, sizes)
    wide, gradient = job.element_bytes, 0 if job.is_frozen else job.stack.gradient_bytes
    return Gathers(
        layer=all_gather_seconds(on, held.layer * wide) + all_gather_seconds(experts_on, held.routed * wide),
        layer_reduce=reduce_scatter_seconds(on, held.layer * gradient)
        + reduce_scatter_seconds(experts_on, held.routed * gradient),
        end=all_gather_seconds(on, held.end * wide),
        end_reduce=reduce_scatter_seconds(on, held.end * gradient),
    )
