"""Seconds of very many weight syncs inside one pool: `planner.costs.sync.transition.reshard_seconds`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.grouping import Groups, Whole, groups_of, joined, taken
from planner.costs.arrays.table import Configurations, Floats
from planner.costs.links.collectives import Channel, all_gather_seconds, channel, group_channel
from planner.costs.memory.stages import stages_of
from planner.costs.setting import Setting
from planner.costs.sync.transition import (
    engine_seconds,
    layers_gather_seconds,
    onload_seconds,
    prompt_batches,
    training_shard_bytes,
)
from planner.domain.cluster import NodePool
from planner.domain.parallelism import ParallelStrategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncs:
    """Training layouts and the generation strategies that their weights go to, one pair per row."""

    train: Configurations
    generate: Generations

    def __len__(self) -> int:
        return len(self.generate)


def sync_seconds(setting: Setting, pairs: Syncs) -> Floats:
    """Seconds of every sync of weights that are on the devices; rows need not differ, nor be sorted."""
    if setting.stack.generation.resharding != "micro-data":
        return _engine_seconds(setting, pairs) + _ungrouped_seconds(setting, pairs.generate)
    alike = _alike(pairs, setting.node_pool)
    some = Syncs(train=taken(pairs.train, alike.rows), generate=taken(pairs.generate, alike.rows))
    spread: Floats = alike.spread(_engine_seconds(setting, some) + _moving_seconds(setting, some))
    return spread


def _ungrouped_seconds(setting: Setting, rows: Generations) -> Floats:
    """What is gathered without micro-DP groups: whole layers over all devices, or nothing."""
    if setting.stack.generation.resharding == "none":
        return np.zeros(len(rows))
    devices = rows.pipeline * rows.tensor * rows.replicas
    batches = prompt_batches(setting, rows.replicas, rows.max_sequences)
    return np.asarray(batches * layers_gather_seconds(setting, devices), dtype=np.float64)


def _alike(pairs: Syncs, node_pool: NodePool) -> Groups:
    """Rows of equal seconds: data-parallel copies matter only where they leave a node."""
    train, generate = pairs.train, pairs.generate
    columns = (train.pipeline, train.tensor, train.context, train.expert, generate.pipeline, generate.tensor)
    inside = (train.sizes.devices <= node_pool.devices_per_node).astype(np.int64)
    return joined(*map(groups_of, columns), groups_of(inside))


def _engine_seconds(setting: Setting, pairs: Syncs) -> Floats:
    rows = pairs.generate
    alike = joined(groups_of(rows.pipeline), groups_of(rows.tensor))
    spread: Floats = alike.spread([engine_seconds(setting, rows.one(int(row))) for row in alike.rows])
    return spread


def returning_bytes(setting: Setting, train: Configurations) -> Whole:
    """Offloaded training weights that come back for a sync, on the fullest device."""
    spread: Whole = _by_shard(train, lambda layout: training_shard_bytes(setting, layout))
    return spread


def returning_seconds(setting: Setting, train: Configurations) -> Floats:
    """Their way over the link to host memory."""
    spread: Floats = _by_shard(train, lambda layout: onload_seconds(setting, layout))
    return spread


def _by_shard(train: Configurations, count: Callable[[ParallelStrategy], float]) -> NDArray[Any]:
    """What depends on pipeline, tensor and expert sizes alone."""
    alike = joined(groups_of(train.pipeline), groups_of(train.tensor), groups_of(train.expert))
    layouts = [
        ParallelStrategy(
            pipeline=int(train.pipeline[row]), tensor=int(train.tensor[row]), expert=int(train.expert[row])
        )
        for row in alike.rows
    ]
    return alike.spread([count(layout) for layout in layouts])


def _moving_seconds(setting: Setting, pairs: Syncs) -> Floats:
    train = pairs.train
    missing = _missing_elements(setting, pairs)
    seconds = _gather_seconds(_gather_channel(setting.node_pool, pairs), missing * setting.element_bytes)
    if setting.model.moe is None:
        return seconds
    spread = channel(setting.node_pool, size=train.expert, stride=train.tensor, devices=train.sizes.devices)
    return seconds + _gather_seconds(spread, _spread_experts(setting, train) * setting.element_bytes)


def _missing_elements(setting: Setting, pairs: Syncs) -> Whole:
    """Parameters that the neediest rank receives (`planner.costs.sync.transition.reshard_elements`)."""
    train, generate = pairs.train, pairs.generate
    counts = np.unique([*train.pipeline, *generate.pipeline]).tolist()
    held = {count: _held(setting, count) for count in counts}
    columns = (train.pipeline, train.tensor, generate.pipeline, generate.tensor)
    missing = [
        _most_missing(held[pipeline], tensor, held[to_pipeline], to_tensor)
        for pipeline, tensor, to_pipeline, to_tensor in zip(*(each.tolist() for each in columns), strict=True)
    ]
    return np.array(missing, dtype=np.int64)


def _held(setting: Setting, count: int) -> tuple[Whole, Whole]:
    """(Cut, whole) parameters of each of so many stages, experts as if training did not spread them."""
    stages = stages_of(setting.model, "vocabulary", count)
    cut = np.array([stage.split + stage.experts for stage in stages], dtype=np.int64)
    return cut, np.array([stage.whole for stage in stages], dtype=np.int64)


def _most_missing(held: tuple[Whole, Whole], tensor: int, needed: tuple[Whole, Whole], to_tensor: int) -> int:
    own = held[0] // tensor + held[1]
    wanted = needed[0] // to_tensor + needed[1]
    return max(0, int((np.repeat(wanted, len(own) // len(wanted)) - own).max()))


def _spread_experts(setting: Setting, train: Configurations) -> Whole:
    """Parameters of the routed experts of a rank's stage that other expert ranks hold."""
    by = groups_of(train.pipeline)
    most = [
        max(stage.experts for stage in stages_of(setting.model, "vocabulary", int(train.pipeline[row])))
        for row in by.rows
    ]
    held: Whole = by.spread(np.array(most, dtype=np.int64)) // train.tensor
    return held * (train.expert - 1) // train.expert


def _gather_seconds(on: Channel, received: Whole) -> Floats:
    """An all-gather in which each rank receives so many bytes; nothing where a rank is alone."""
    others = np.maximum(1, on.size - 1)
    seconds = all_gather_seconds(on, received * on.size / others)
    return np.asarray(seconds, dtype=np.float64)


def _gather_channel(node_pool: NodePool, pairs: Syncs) -> Channel:
    """What the micro-DP groups get of the links, as `planner.costs.sync.transition` says."""
    train, generate, node = pairs.train, pairs.generate, node_pool.devices_per_node
    stages, shards = train.pipeline // generate.pipeline, train.tensor // generate.tensor
    size, block = stages * shards, train.tensor * train.context
    span = np.where(stages > 1, stages * block, shards)
    inside = (size == 1) | (train.sizes.devices <= node) | (node % span == 0)
    near = np.minimum(size, np.maximum(1, np.minimum(stages, node // block)) * shards)
    local = np.where(inside, size, near)
    return group_channel(
        node_pool, size=size, local=local, sharing=np.where(inside, 1, np.maximum(1, node // near))
    )
