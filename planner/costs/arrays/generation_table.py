"""Seconds and bytes of very many generation strategies at once; replicas of one p_g and t_g share a table."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.grouping import Groups, Whole, groups_of, joined, taken
from planner.costs.arrays.table import Floats
from planner.costs.memory.generation_memory import bytes_beside_weights, weight_bytes
from planner.costs.serving.generation import engine_of, replica_seconds
from planner.costs.serving.step_table import stacked, step_table
from planner.costs.setting import Setting
from planner.domain.parallelism import GenerationStrategy
from planner.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """Generation strategies, one per row; whole numbers from 1 on.

    Raises
    ------
    SpecError
        The columns are not vectors of one length.
    """

    pipeline: Whole
    tensor: Whole
    replicas: Whole
    max_sequences: Whole
    cache_tokens: Whole
    """Of one replica's cache; 0 for ``max_sequences`` of the greatest length."""

    def __post_init__(self) -> None:
        shapes = {column.name: np.shape(getattr(self, column.name)) for column in fields(self)}
        if len(set(shapes.values())) > 1 or len(shapes["pipeline"]) != 1:
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise SpecError(f"generation strategies: columns must be vectors of one length, not {found}")

    def __len__(self) -> int:
        return len(self.pipeline)

    def one(self, row: int) -> GenerationStrategy:
        """The strategy of a row."""
        return GenerationStrategy(
            pipeline=int(self.pipeline[row]),
            tensor=int(self.tensor[row]),
            replicas=int(self.replicas[row]),
            max_sequences=int(self.max_sequences[row]),
            cache_tokens=int(self.cache_tokens[row]) or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTable:
    """What each strategy costs; every array has one entry per strategy."""

    seconds: Floats
    """Of all responses, without the weight sync."""
    weights: Whole
    """Bytes of the generation weights on the fullest device."""
    beside: Whole
    """Bytes of cache and working set."""


def generation_table(setting: Setting, rows: Generations) -> GenerationTable:
    """`generation_seconds` and `generation_bytes` of every strategy; they need not differ, nor be sorted."""
    alike = _alike(rows, setting)
    some = taken(rows, alike.rows)
    seconds, weights, beside = np.empty(len(some)), *np.empty((2, len(some)), dtype=np.int64)
    met = _neighbours(some, setting) * some.pipeline * some.tensor
    leaves = groups_of((met > setting.node_pool.devices_per_node).astype(np.int64))
    for places in _places(joined(groups_of(some.tensor), leaves)):
        seconds[places] = _seconds(setting, taken(some, places))
    for places in _places(joined(groups_of(some.pipeline), groups_of(some.tensor))):
        one, at = some.one(int(places[0])), taken(some, places)
        weights[places] = weight_bytes(setting, one)
        beside[places] = sum(bytes_beside_weights(setting, one, **_counts(at)).values())
    return GenerationTable(
        seconds=alike.spread(seconds), weights=alike.spread(weights), beside=alike.spread(beside)
    )


def _seconds(setting: Setting, rows: Generations) -> Floats:
    """Of strategies whose tables differ in their stages only."""
    near = groups_of(_neighbours(rows, setting))
    alike = joined(groups_of(rows.pipeline), near)
    engine = engine_of(setting)
    tables = stacked([step_table(engine, rows.one(int(row))) for row in alike.rows], alike.of)
    counts = {name: count[:, None] for name, count in _counts(rows).items()}
    seconds: Floats = replica_seconds(setting, tables, **counts)[:, 0]
    return seconds


def _counts(rows: Generations) -> dict[str, Whole]:
    return {name: getattr(rows, name) for name in ("replicas", "max_sequences", "cache_tokens")}


def _places(groups: Groups) -> list[NDArray[Any]]:
    """The rows of each group."""
    order = np.argsort(groups.of, kind="stable")
    return np.split(order, np.cumsum(np.bincount(groups.of))[:-1])


def _alike(rows: Generations, setting: Setting) -> Groups:
    """Rows of equal costs: replicas matter by their sequences, and by their share of the network."""
    sequences = -(-setting.workload.samples // rows.replicas)
    columns = (rows.pipeline, rows.tensor, sequences, rows.max_sequences, rows.cache_tokens)
    return joined(*map(groups_of, columns), groups_of(_neighbours(rows, setting)))


def _neighbours(rows: Generations, setting: Setting) -> Whole:
    """Replicas whose traffic meets, as `step_table` counts them."""
    size, node = rows.pipeline * rows.tensor, setting.node_pool.devices_per_node
    alone = (size <= node) & (node % size == 0)
    met: Whole = np.minimum(np.where(alone, 1, np.maximum(2, -(-node // size))), rows.replicas)
    return met
