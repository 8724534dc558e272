"""What a role costs in very many layouts and generation strategies: the tables of its calls put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.forward_table import forward_table
from planner.costs.arrays.generation_table import Generations, GenerationTable, generation_table
from planner.costs.arrays.grouping import Whole, groups_of, joined, taken
from planner.costs.arrays.sync_table import Syncs, returning_bytes, returning_seconds, sync_seconds
from planner.costs.arrays.table import Configurations, Floats, training_table
from planner.costs.corrections import CallSeconds
from planner.costs.memory.memory import OFFLOADED
from planner.costs.passes.optimizer import offload_seconds, onload_seconds
from planner.costs.passes.training import OFFLOAD, RECOMPUTE
from planner.costs.setting import Job, Setting
from planner.domain.dataflow import CallKind, ModelCall
from planner.domain.plan import Offload, RoleStrategy

STATES = ("parameters", "gradients", "optimizer")
Correction = Callable[[ModelCall, CallSeconds, Callable[[RoleStrategy], NDArray[np.bool_]]], Floats]
"""Seconds of a call as measurements have them, from modelled ones and from which rows a strategy is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleCosts:
    """Costs of one role; every array has one entry per row."""

    seconds: Mapping[str, Floats]
    """Of each call that was asked for, by its name."""
    persistent: Whole
    """Bytes per device during the whole iteration."""
    transient: Whole
    """Greatest of these calls' bytes beside them."""
    host: Whole
    """Bytes of host memory per device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Updates and forward passes of a role, nothing offloaded; every array has one entry per layout."""

    job: Job
    calls: Sequence[ModelCall]
    seconds: Mapping[str, Floats]
    transient: Mapping[str, Whole]
    states: Mapping[str, Whole]
    """Bytes on the fullest device by kind, of what the role always keeps."""
    held: Floats
    updated: Floats


def passes_of(
    calls: Sequence[tuple[ModelCall, Setting]], rows: Configurations, *, is_trained: bool
) -> Passes:
    """The role's calls that train or infer, each with what it depends on, in every layout."""
    found = {(call.kind, setting): None for call, setting in calls}
    tables = {key: _passed(*key, rows) for key in found}
    first = tables[("train" if is_trained else "infer", _first(calls, is_trained=is_trained))]
    return Passes(
        job=calls[0][1].job,
        calls=[call for call, _ in calls],
        seconds={call.name: tables[call.kind, setting].seconds for call, setting in calls},
        transient={call.name: tables[call.kind, setting].transient for call, setting in calls},
        states=first.states,
        held=first.held,
        updated=first.updated,
    )


def costs_of(passes: Passes, rows: Configurations, offload: Offload, correct: Correction) -> RoleCosts:
    """Costs with some states in host memory between the calls."""
    gone = [kind for kind in OFFLOADED[offload] if kind in passes.states]
    nothing = np.zeros(len(rows), dtype=np.int64)
    seconds, transient = {}, nothing
    for call in passes.calls:
        back = [kind for kind in gone if call.kind == "train" or kind == "parameters"]
        peak = sum((passes.states[kind] for kind in back), passes.transient[call.name])
        transient = np.maximum(transient, peak)
        moved = passes.seconds[call.name] + _moving_seconds(passes, call.kind, offload)
        alike = _Likeness(rows, call.kind, offload)
        seconds[call.name] = correct(call, CallSeconds(moved), alike)
    kept = [count for kind, count in passes.states.items() if kind not in gone]
    return RoleCosts(
        seconds=seconds,
        persistent=sum(kept, nothing),
        transient=transient,
        host=sum((passes.states[kind] for kind in gone), nothing),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """One call that generates, weights at hand; every array has one entry per pair."""

    call: ModelCall
    table: GenerationTable
    weights: Whole
    """Bytes of the engine's own weights; none where it generates with the training weights."""
    stays: bool
    """Whether training weights that come back stay for the whole call."""
    sync: Floats
    """Seconds of the weight sync."""
    returning_s: Floats
    """More of them where the training weights come back from host memory for it."""
    returning: Whole
    """Bytes of these weights."""


def generated(calls: Sequence[tuple[ModelCall, Setting]], pairs: Syncs) -> list[Generated]:
    """The role's calls that generate, in every pair of a training layout and a generation strategy."""
    return [_generated(call, setting, pairs) for call, setting in calls]


def _generated(call: ModelCall, setting: Setting, pairs: Syncs) -> Generated:
    table, stays = generation_table(setting, pairs.generate), setting.stack.generation.resharding == "none"
    return Generated(
        call=call,
        table=table,
        weights=table.weights * (not stays),
        stays=stays,
        sync=sync_seconds(setting, pairs),
        returning_s=returning_seconds(setting, pairs.train),
        returning=returning_bytes(setting, pairs.train),
    )


def generation_costs(
    calls: Sequence[Generated], pairs: Syncs, offload: Offload, correct: Correction
) -> RoleCosts:
    """Costs with some states in host memory between the calls.

    Training weights come back for the sync, before the engine takes its cache and working set; or for the
    whole call, where it generates with them.
    """
    seconds = {}
    nothing = np.zeros(len(pairs), dtype=np.int64)
    transient, returns = nothing, offload == "all"
    for each in calls:
        parts = CallSeconds(each.table.seconds, each.sync + returns * each.returning_s)
        seconds[each.call.name] = correct(each.call, parts, _PairLikeness(pairs, offload))
        beside, back = each.table.beside, returns * each.returning
        peak = each.weights + (beside + back if each.stays else np.maximum(beside, back))
        transient = np.maximum(transient, peak)
    return RoleCosts(seconds=seconds, persistent=nothing, transient=transient, host=nothing)


def generator_costs(
    calls: Sequence[tuple[ModelCall, Setting]], rows: Generations, *, correct: Correction
) -> RoleCosts:
    """Costs of a role that only generates, and whose weights stay where they are."""
    seconds = {}
    nothing = np.zeros(len(rows), dtype=np.int64)
    weights, transient = nothing, nothing
    for call, setting in calls:
        table = generation_table(setting, rows)
        seconds[call.name] = correct(call, CallSeconds(table.seconds), _GenerationLikeness(rows))
        weights, transient = table.weights, np.maximum(transient, table.beside)
    return RoleCosts(seconds=seconds, persistent=weights, transient=transient, host=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed:
    """One kind of pass."""

    seconds: Floats
    transient: Whole
    states: Mapping[str, Whole]
    held: Floats
    updated: Floats


def _first(calls: Sequence[tuple[ModelCall, Setting]], *, is_trained: bool) -> Setting:
    kind = "train" if is_trained else "infer"
    return next(setting for call, setting in calls if call.kind == kind)


def _passed(kind: CallKind, setting: Setting, rows: Configurations) -> _Passed:
    return _updates(setting, rows) if kind == "train" else _forward_passes(setting, rows)


def _updates(setting: Setting, rows: Configurations) -> _Passed:
    table = training_table(setting, rows)
    steps = setting.workload.epochs * setting.workload.mini_batches
    beside = [count for kind, count in table.bytes.items() if kind not in STATES]
    return _Passed(
        seconds=steps * np.asarray(table.seconds.total),
        transient=sum(beside[1:], beside[0]),
        states={kind: table.bytes[kind] for kind in STATES},
        held=table.held,
        updated=table.updated,
    )


def _forward_passes(setting: Setting, rows: Configurations) -> _Passed:
    """Computed once for rows that differ in chunks and recomputation only, which forward passes have not."""
    names = ("pipeline", "tensor", "data", "context", "expert", "micro_batch", "micro_batch_tokens")
    alike = joined(*(groups_of(getattr(rows, name)) for name in names))
    table = forward_table(setting, taken(rows, alike.rows))
    beside = list(table.bytes.values())
    return _Passed(
        seconds=alike.spread(table.seconds),
        transient=alike.spread(sum(beside[1:], beside[0])),
        states={"parameters": alike.spread(table.parameters)},
        held=alike.spread(table.held),
        updated=np.zeros(len(rows)),
    )


def _moving_seconds(passes: Passes, kind: CallKind, offload: Offload) -> Floats:
    """States to the device and back, once per update; weights to the device before a forward pass."""
    job, code = passes.job, OFFLOAD[offload]
    if kind == "train" and code:
        moved = offload_seconds(job, passes.updated, passes.held * (code == OFFLOAD["all"]))
    elif kind == "infer" and offload == "all":
        moved = onload_seconds(job, passes.held * job.element_bytes)
    else:
        moved = 0.0
    return np.asarray(moved, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Likeness:
    """Which rows cost what a strategy does, in calls that train or infer."""

    rows: Configurations
    kind: CallKind
    offload: Offload

    def __call__(self, strategy: RoleStrategy) -> NDArray[np.bool_]:
        rows = self.rows
        alike = _is_layout(rows, strategy) & _is_size(rows.virtual, strategy.layout.virtual)
        alike &= _is_size(rows.micro_batch_tokens, strategy.micro_batch_tokens or 0)
        if not strategy.micro_batch_tokens:
            alike &= _is_size(rows.micro_batch, strategy.micro_batch)
        if self.kind == "train":
            alike &= _is_size(rows.recompute, RECOMPUTE[strategy.recompute])
            return alike & (strategy.offload == self.offload)
        return alike & ((strategy.offload == "all") == (self.offload == "all"))


@dataclass(frozen=True, slots=True)
class _PairLikeness:
    """The same in calls that generate."""

    pairs: Syncs
    offload: Offload

    def __call__(self, strategy: RoleStrategy) -> NDArray[np.bool_]:
        alike = _is_layout(self.pairs.train, strategy) & _GenerationLikeness(self.pairs.generate)(strategy)
        return alike & ((strategy.offload == "all") == (self.offload == "all"))


@dataclass(frozen=True, slots=True)
class _GenerationLikeness:
    """The same of a role that only generates."""

    rows: Generations

    def __call__(self, strategy: RoleStrategy) -> NDArray[np.bool_]:
        assert strategy.generate is not None, "a measured call of generation has a strategy for it"
        sizes = strategy.generate.model_dump() | {"cache_tokens": strategy.generate.cache_tokens or 0}
        return _are_all(
            [_is_size(getattr(self.rows, each.name), sizes[each.name]) for each in fields(self.rows)]
        )


def _is_layout(rows: Configurations, strategy: RoleStrategy) -> NDArray[np.bool_]:
    """Whether rows agree in all sizes that every call depends on."""
    names = ("pipeline", "tensor", "data", "context", "expert")
    return _are_all([_is_size(getattr(rows, name), getattr(strategy.layout, name)) for name in names])


def _are_all(columns: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    alike: NDArray[np.bool_] = np.logical_and.reduce(columns)
    return alike


def _is_size(column: Whole, size: int) -> NDArray[np.bool_]:
    alike: NDArray[np.bool_] = column == size
    return alike
