"""The option table: what a role costs in each strategy on each slot, without those that cannot matter.

Why dropping is safe. Roles meet only through the seconds of their calls, through persistent bytes (their sum,
with the greatest transient bytes of any role, must fit a device), through host bytes (their sum must fit the
device's part of its node) and through the slot. Both time models' objectives rise with every call's seconds:
the stage cost is made of sums and maxima of them, and a cyclic schedule stays valid when a call takes less.
Feasibility can only be lost as bytes rise. Take any plan and replace one role's option by another of the same
role and slot that is no greater in each call's seconds and in each kind of bytes: the plan still fits and
costs no more. Hence some optimal plan uses undominated options only, of which one of several equal ones
suffices. Three shortcuts would be wrong: adding persistent to transient bytes (of a pool's roles only the
greatest transient counts), adding up the seconds of different calls (other pools wait for some of them only),
and comparing options of different device counts (colocated roles must share one).

An option of a role that trains and generates is a training half (layout, micro-batch, recompute, offload) and
a generation half (p_g, t_g, sequences at once, cache), which belong together when p_g divides p and t_g
divides t, or as the serving engine has it (`planner.search.options.raw.under`). The training half enters
generation through the weight sync only: through p, t, c and e, whose micro-DP groups it moves weights in,
through the devices, and through whether weights come back from host memory
(`planner.search.options.halves.KEY`; d follows from these, and chunks move nothing). The halves have calls of
their own, persistent and host bytes do not depend on the generation half, and transient bytes are the greater
of the two. Each of these rises with each half's value, so a half that is dominated among those of the same
key makes only dominated options: the halves are pruned first, then their products. A half that does not fit a
device alone makes no option that fits, and is dropped before.

Where nobody limits host memory its bytes only break ties: of plans of one objective and as many devices the
one of the least sum of all calls' seconds is taken, then that of the fewest bytes. An option that is no
greater in each call's seconds, in persistent and in transient bytes is taken before another one if the sum of
its seconds is less, or as much and its persistent and host bytes together are no more; only then it
dominates.

Where only plans within a limit are of interest (``limit_us``), an option whose calls together take longer is
in none of them: a pool runs all calls of its roles once in each period, one after another, and the stage cost
adds up at least those of any role.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import RoleStrategy
from planner.domain.scenario import Scenario
from planner.search.arrays import Integers
from planner.search.costs_protocol import Costs
from planner.search.options.dominance import undominated
from planner.search.options.halves import Half, generation_half, generator_half, layout_half, with_keys
from planner.search.options.layout_rules import raw_layouts
from planner.search.options.products import fastest_first, least_transient, product, whole, whole_product
from planner.search.options.raw import permitted
from planner.search.options.rows import Strategies
from planner.search.options.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of one role on one slot, column by column."""

    strategies: Sequence[RoleStrategy]
    """By option; may be made when asked for."""
    call_us: Integers = field(repr=False)
    """Microseconds of each of the role's calls in program order, rounded up; shape (options, calls)."""
    persistent: Integers = field(repr=False)
    """Bytes per device during the whole iteration, shape (options,)."""
    transient: Integers = field(repr=False)
    """Greatest of the calls' bytes per device, shape (options,)."""
    host: Integers = field(repr=False)
    """Bytes of host memory per device, shape (options,)."""

    def __len__(self) -> int:
        return len(self.strategies)

    def take(self, rows: Integers) -> "Options":
        """Some of the options."""
        every = self.strategies
        return Options(
            strategies=every.at(rows) if isinstance(every, Strategies) else [every[row] for row in rows],
            call_us=self.call_us[rows],
            persistent=self.persistent[rows],
            transient=self.transient[rows],
            host=self.host[rows],
        )

    def pruned(self) -> "Options":
        """The undominated options; the module's docstring proves that no others are needed."""
        columns = (self.call_us, self.persistent[:, None], self.transient[:, None], self.host[:, None])
        return self.take(undominated(np.concatenate(columns, axis=1)))


@dataclass(frozen=True, kw_only=True)
class RoleTable:
    """What it takes to list and cost the strategies of one role on one node pool."""

    role: str
    scenario: Scenario
    graph: DataflowGraph
    costs: Costs
    node_pool: NodePool
    limit_us: int | None = None
    """Longest time of interest: options that take longer by themselves are left out."""

    @cached_property
    def subject(self) -> Subject:
        """What the rules ask about."""
        return Subject(role=self.role, scenario=self.scenario, graph=self.graph, node_pool=self.node_pool)

    def options(self, devices: int) -> Options:
        """Undominated options on so many devices that agree with the pins and fit a device alone."""
        return self.all_options([devices])[devices]

    def all_options(self, counts: Sequence[int]) -> dict[int, Options]:
        """The same on each of these device counts."""
        whole = self._undominated(permitted(self.subject, counts)).sorted_by("devices")
        devices = whole.rows["devices"]
        low, high = np.searchsorted(devices, counts), np.searchsorted(devices, counts, side="right")
        table = self._options(whole)
        slices = zip(counts, low.tolist(), high.tolist(), strict=True)
        return {count: table.take(np.arange(begin, end)) for count, begin, end in slices}

    def smallest(self, devices: int) -> tuple[RoleStrategy, int] | None:
        """The strategy of the fewest bytes on so many devices, whether they fit or not, and its bytes."""
        whole, generation = self._halves(permitted(self.subject, [devices]))
        if generation is not None:
            whole = whole_product(whole, least_transient(generation))
        if not len(whole):
            return None
        needed = whole.persistent + whole.transient
        row = int(np.argmin(needed))
        return self._strategies(whole)[row], int(needed[row])

    def _undominated(self, counts: Sequence[int]) -> Half:
        """Of all device counts together."""
        subject, pool = self.subject, self.node_pool
        if not subject.has_layout:
            return self._pruned(self._useful(generator_half(subject, self.costs, counts)), "devices")
        raw = raw_layouts(subject, counts)
        training = self._useful(layout_half(subject, self.costs, raw))
        if not subject.generates or not len(training):
            return self._pruned(training, "devices").of(raw)
        training = self._pruned(with_keys(training, raw), "key").of(raw)
        generation = self._pruned(self._useful(generation_half(subject, self.costs, training)), "key")
        generation = fastest_first(generation)
        pairs = self._pruned(self._useful(product(training, generation, pool)), "devices")
        return whole(pairs, training, generation)

    def _useful(self, half: Half) -> Half:
        """Rows that a device can hold alone, in the time that is of interest."""
        half = half.fitting(self.node_pool)
        return half if self.limit_us is None else half.within(self.limit_us)

    def _pruned(self, half: Half, key: str) -> Half:
        return half.pruned(key, is_host_limited=self.node_pool.host_memory is not None)

    def _halves(self, counts: Sequence[int]) -> tuple[Half, Half | None]:
        """Every half, the second of roles that train or infer and generate."""
        subject = self.subject
        if not subject.has_layout:
            return generator_half(subject, self.costs, counts), None
        raw = raw_layouts(subject, counts)
        training = layout_half(subject, self.costs, raw)
        if not subject.generates or not len(training):
            return training.of(raw), None
        training = with_keys(training, raw).of(raw)
        return training, generation_half(subject, self.costs, training)

    def _strategies(self, whole: Half) -> Strategies:
        phase = self.subject.phase if self.subject.has_layout else None
        return Strategies(rows=whole.rows, phase=phase)

    def _options(self, whole: Half) -> Options:
        names = [call.name for call in self.subject.calls]
        us = [whole.call_us.get(name, np.zeros(len(whole), dtype=np.int64)) for name in names]
        return Options(
            strategies=self._strategies(whole),
            call_us=np.stack(us, axis=1),
            persistent=whole.persistent,
            transient=whole.transient,
            host=whole.host,
        )
