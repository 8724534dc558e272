"""Halves of options on all slots of a node pool: what trains and infers, and what generates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.grouping import groups_of, joined
from planner.costs.arrays.role_costs import RoleCosts
from planner.costs.arrays.sync_table import Syncs
from planner.domain.cluster import NodePool
from planner.domain.plan import Offload
from planner.search.arrays import Integers
from planner.search.costs_protocol import Costs
from planner.search.microseconds import whole_microseconds
from planner.search.options.dominance import undominated_in_groups
from planner.search.options.generation_rules import raw_generations
from planner.search.options.layout_rules import offloads
from planner.search.options.raw import offloaded, under
from planner.search.options.rows import Columns, concatenated, configurations, generations, taken
from planner.search.options.subject import Subject

KEY = ("devices", "pipeline", "tensor", "context", "expert", "returns")
"""What of a training half enters generation: with the devices, the data-parallel size follows from these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """Costed rows; all arrays have one entry per row."""

    rows: Columns
    call_us: Mapping[str, Integers]
    """Microseconds of each of its calls, rounded up."""
    persistent: Integers
    transient: Integers
    host: Integers

    def __len__(self) -> int:
        return len(self.persistent)

    def at(self, numbers: NDArray[np.int64] | NDArray[np.bool_]) -> "Half":
        """Some of the rows."""
        return Half(
            rows=taken(self.rows, numbers),
            call_us={name: us[numbers] for name, us in self.call_us.items()},
            persistent=self.persistent[numbers],
            transient=self.transient[numbers],
            host=self.host[numbers],
        )

    def of(self, raw: Columns) -> "Half":
        """With the columns of the raw rows that it has the numbers of."""
        rows = {name: column for name, column in self.rows.items() if name != "number"}
        return replace(self, rows={**taken(raw, self.rows["number"]), **rows})

    def pruned(self, *keys: str, is_host_limited: bool = True) -> "Half":
        """Undominated rows among those that agree in some columns."""
        groups = numbered([self.rows[key] for key in keys])
        columns = [*self.call_us.values(), self.persistent, self.transient]
        if is_host_limited:
            return self.at(undominated_in_groups(groups, [*columns, self.host]))
        seconds = sum(self.call_us.values(), 0 * self.host)
        return self.at(undominated_in_groups(groups, columns, ties=(seconds, self.persistent + self.host)))

    def sorted_by(self, key: str) -> "Half":
        """Rows of equal value side by side, in their order else."""
        return self.at(np.argsort(self.rows[key], kind="stable"))

    def within(self, limit_us: int) -> "Half":
        """Rows whose calls together take no longer: no plan takes less than one of its roles does."""
        seconds = sum(self.call_us.values(), np.zeros_like(self.host))
        return self.at(seconds <= limit_us)

    def fitting(self, node_pool: NodePool) -> "Half":
        """Rows that a device and its part of the host's memory can hold alone."""
        fits = self.persistent + self.transient <= node_pool.device.usable_memory
        if node_pool.host_memory_per_device is not None:
            fits &= self.host <= node_pool.host_memory_per_device
        return self.at(fits)


def layout_half(subject: Subject, costs: Costs, raw: Columns) -> Half:
    """Every offload of some raw layouts, whose numbers its rows have in their place (`Half.of`)."""
    kinds = offloads(subject)
    devices = raw["devices"]
    rows = offloaded({"devices": devices, "number": np.arange(len(devices))}, kinds)
    if not len(rows["devices"]):
        return _empty(rows)
    tables = costs.layouts(subject.role, configurations(raw), subject.node_pool, offloads=kinds)
    return _joined(rows, tables)


def generator_half(subject: Subject, costs: Costs, counts: Sequence[int]) -> Half:
    """Every strategy of a role that only generates."""
    rows = raw_generations(subject, counts)
    if not len(rows["devices"]):
        return _empty(rows)
    return _joined(rows, [costs.generators(subject.role, generations(rows), subject.node_pool)])


def with_keys(training: Half, raw: Columns) -> Half:
    """Training halves with the number of their `KEY`; those that differ in ``returns`` adjoin."""
    layout = numbered([raw[name] for name in KEY[:-1]])[training.rows["number"]]
    return replace(training, rows={**training.rows, "key": 2 * layout + training.rows["returns"]})


def generation_half(subject: Subject, costs: Costs, training: Half) -> Half:
    """Every generation strategy under each key of some training halves, sorted by it."""
    _, first = np.unique(training.rows["key"] // 2, return_index=True)
    layouts = taken(training.rows, first)
    layouts = {**layouts, "virtual": np.ones_like(first)}
    counts = np.unique(layouts["devices"])
    raw = raw_generations(subject, counts.tolist())
    slots = zip(_split(raw, counts), _split(layouts, counts), strict=True)
    resharding = subject.scenario.stack.generation.resharding
    rows = concatenated([under(generation, own, resharding) for generation, own in slots])
    if not len(rows["devices"]):
        return _empty(rows)
    returns = np.unique(training.rows["returns"]).tolist()
    kinds: list[Offload] = ["all" if each else "none" for each in returns]
    pairs = Syncs(train=configurations(rows), generate=generations(rows))
    tables = costs.generations(subject.role, pairs, subject.node_pool, offloads=kinds)
    kept = {name: column for name, column in rows.items() if name in raw and name != "devices"}
    keyed = concatenated([{**kept, "key": rows["key"] // 2 * 2 + each} for each in returns])
    return _joined(keyed, tables).sorted_by("key")


def numbered(columns: Sequence[Integers]) -> Integers:
    """Numbers from 0 on, the same for rows that agree in all columns, rising in the columns' order."""
    if not len(columns[0]):
        return columns[0]
    return joined(*map(groups_of, columns)).of.astype(np.int64)


def _split(rows: Columns, counts: Integers) -> list[Columns]:
    """Rows of each device count; they are sorted by it."""
    ends = np.searchsorted(rows["devices"], [*counts, counts[-1] + 1])
    return [taken(rows, np.arange(begin, end)) for begin, end in pairwise(ends)]


def _empty(rows: Columns) -> Half:
    nothing: Integers = np.zeros(0, dtype=np.int64)
    none = dict.fromkeys(rows, nothing)
    return Half(rows=none, call_us={}, persistent=nothing, transient=nothing, host=nothing)


def _joined(rows: Columns, tables: Sequence[RoleCosts]) -> Half:
    """The tables one after the other."""
    names = list(tables[0].seconds)
    return Half(
        rows=rows,
        call_us={
            name: whole_microseconds(np.concatenate([each.seconds[name] for each in tables]))
            for name in names
        },
        persistent=np.concatenate([each.persistent for each in tables]),
        transient=np.concatenate([each.transient for each in tables]),
        host=np.concatenate([each.host for each in tables]),
    )
