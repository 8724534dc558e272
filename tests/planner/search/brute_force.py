"""Every plan there is, one by one: what the planner's solvers are held to.

Shares nothing with `planner.search` but the device counts that pools may take. Set partitions, allocations
and combinations of raw options are enumerated in full; options that take the same time in every call count
once. The stage cost follows directly, periods from `tests.planner.search.cyclic`. Among so many plans the
best is found by halving: it takes one fact, that no plan gets faster when a call gets slower.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from heapq import heappop, heappush
from itertools import count, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph, Dependence
from planner.domain.plan import RoleStrategy
from planner.domain.scenario import Scenario
from tests.planner.search.cyclic import Wait, least_period, lower_bound

Whole = NDArray[np.int64]
Slot = tuple[str, int]
"""A node pool and a number of its devices."""
Placement = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Question:
    """What a plan is asked for, and everything that it may be made of."""

    scenario: Scenario
    graph: DataflowGraph
    costs: Any
    counts: Mapping[str, Sequence[int]]
    """Device counts that pools may take whatever the others take, of each node pool.

    Any part of a node is one where all pools of that node pool lie in one node.
    """
    raw_options: Callable[[str, NodePool, int], Iterator[RoleStrategy]]
    """All strategies of a role on so many devices of a node pool, pins and memory left aside."""
    service_us: Mapping[str, int]
    """Microseconds of calls that take no devices; 0 if left out."""
    crossing_us: Callable[[Dependence], int]
    """Microseconds between a call and one that waits for it, when their roles lie in different node pools."""
    interleaves: bool = True

    @cached_property
    def calls(self) -> list[str]:
        return [call.name for call in self.graph.calls]

    @cached_property
    def node_pools(self) -> dict[str, NodePool]:
        return {pool.name: pool for pool in self.scenario.cluster.node_pools}

    def permitted(self, role: str, slot: Slot) -> list[RoleStrategy]:
        """The raw options of a role on a slot that are as pinned."""
        options = self.raw_options(role, self.node_pools[slot[0]], slot[1])
        return [each for each in options if is_as_pinned(self.scenario, role, slot, each)]

    def value(self, period_us: int, slots: Sequence[Slot]) -> float | None:
        """The objective of a plan, or none where it takes longer than permitted."""
        scenario, seconds = self.scenario, period_us / 1e6
        if scenario.within is not None and seconds > scenario.within:
            return None
        if scenario.minimise == "devices":
            return sum(devices for _, devices in slots)
        if scenario.minimise == "dollars":
            rate = sum(devices * self.node_pools[name].price for name, devices in slots)
            return rate * seconds / 3600 / scenario.workload.total_tokens * 1e6
        return seconds


@dataclass(frozen=True)
class Choices:
    """All that a set of roles can do on a slot."""

    calls: list[str]
    us: Whole
    """Different microseconds of the calls, shape (combinations of options, calls)."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """A placement with its slots."""

    question: Question
    placement: Placement
    slots: tuple[Slot, ...]
    us: Whole
    """Different microseconds of all calls, shape (combinations of the pools', calls)."""

    @cached_property
    def pool_numbers(self) -> list[int | None]:
        return pool_numbers(self.question, self.placement)

    @cached_property
    def waits(self) -> list[Wait]:
        return waits_of(self.question, self.placement, self.slots)

    @cached_property
    def busiest_link_us(self) -> int:
        """The sum of what crosses in an iteration from one node pool to another, the greatest of all."""
        homes = [None if pool is None else self.slots[pool][0] for pool in self.pool_numbers]
        names = {name for name, _ in self.slots}
        return max(
            sum(delay for source, target, _, delay in self.waits if (homes[source], homes[target]) == link)
            for link in product(names, names)
        )

    def value(self, us: Whole, *, exactly: bool) -> float:
        """The objective of a plan of these calls' microseconds, or a bound on it; infinite if forbidden."""
        calls = us.tolist()
        if self.question.scenario.time_model == "stage":
            total: int | None = stage_cost_us(self.question.graph, calls, self.pool_numbers)
        elif exactly:
            interleaves = self.question.interleaves
            total = least_period(calls, self.pool_numbers, self.waits, interleaves=interleaves)
            total = None if total is None else max(total, self.busiest_link_us)
        else:
            total = max(lower_bound(calls, self.pool_numbers, self.waits), self.busiest_link_us)
        value = None if total is None else self.question.value(total, self.slots)
        return math.inf if value is None else value


def best_value(question: Question) -> float | None:
    """The least objective of any plan; none where nothing fits."""
    return _best_of(list(allocations(question)))


def best_by_placement(question: Question) -> dict[Placement, float]:
    """The least objective of each placement that has a plan."""
    by_placement: dict[Placement, list[Allocation]] = {}
    for allocation in allocations(question):
        by_placement.setdefault(allocation.placement, []).append(allocation)
    best = {placement: _best_of(each) for placement, each in by_placement.items()}
    return {placement: value for placement, value in best.items() if value is not None}


def _best_of(found: Sequence[Allocation]) -> float | None:
    """Best first, over boxes of plans: none is faster than one that takes the least of them all in each call.

    The first box taken up that has a plan in that corner holds the best plan.
    """
    heap: list[tuple[float, int, bool, Allocation, Whole]] = []
    numbers = count()

    def push(allocation: Allocation, rows: Whole, *, exactly: bool) -> None:
        value = allocation.value(rows.min(axis=0), exactly=exactly)
        if value < math.inf:
            heappush(heap, (value, next(numbers), exactly, allocation, rows))

    for allocation in found:
        push(allocation, allocation.us, exactly=False)
    while heap:
        value, _, is_exact, allocation, rows = heappop(heap)
        if not is_exact:
            push(allocation, rows, exactly=True)
        elif (rows == rows.min(axis=0)).all(axis=1).any():
            return value
        else:
            widest = int((rows.max(axis=0) - rows.min(axis=0)).argmax())
            middle = (rows[:, widest].max() + rows[:, widest].min()) // 2
            push(allocation, rows[rows[:, widest] <= middle], exactly=False)
            push(allocation, rows[rows[:, widest] > middle], exactly=False)
    return None


def stage_cost_us(graph: DataflowGraph, us: Sequence[int], pools: Sequence[int | None]) -> int:
    """Sum over stages of the maximum over pools, and over calls without devices, of their calls' sum."""
    loads: dict[tuple[int, int | None], int] = {}
    for call, duration, pool in zip(graph.calls, us, pools, strict=True):
        if call.name in graph.stage_of:
            key = (graph.stage_of[call.name], pool)
            loads[key] = loads.get(key, 0) + duration
    stages = {stage for stage, _ in loads}
    return sum(max(load for (at, _), load in loads.items() if at == stage) for stage in stages)


def allocations(question: Question) -> Iterator[Allocation]:
    """All placements on all slots that hold them."""

    @cache
    def pool_on(roles: tuple[str, ...], slot: Slot) -> Choices | None:
        return _choices(question, roles, slot)

    slots = [
        (name, devices)
        for name, counts in question.counts.items()
        for devices in sorted({*counts, *range(1, question.node_pools[name].devices_per_node)})
    ]
    for sets in partitions(question.graph.roles):
        placement = tuple(map(tuple, sets))
        if not _obeys(question.scenario, placement):
            continue
        for chosen in product(slots, repeat=len(placement)):
            if _fits_cluster(question, chosen):
                pools = [pool_on(roles, slot) for roles, slot in zip(placement, chosen, strict=True)]
                if all(pools):
                    yield _allocation(question, placement, chosen, pools)


def partitions(roles: Sequence[str]) -> Iterator[list[list[str]]]:
    """All set partitions: the last role joins a set of the others' partitions, or founds one."""
    if not roles:
        yield []
        return
    *others, last = roles
    for sets in partitions(others):
        for number in range(len(sets)):
            yield [[*each, last] if at == number else each for at, each in enumerate(sets)]
        yield [*sets, [last]]


def _obeys(scenario: Scenario, placement: Placement) -> bool:
    together = all(any(set(group) <= set(roles) for roles in placement) for group in scenario.colocate)
    apart = all(len(set(group) & set(roles)) <= 1 for group in scenario.apart for roles in placement)
    return together and apart and not any({"actor", "generator"} <= set(roles) for roles in placement)


def _fits_cluster(question: Question, slots: Sequence[Slot]) -> bool:
    most, can = question.scenario.maximum_devices, question.scenario.capabilities
    if not can.node_pools and len({name for name, _ in slots}) > 1:
        return False
    return all(most is None or devices <= most for _, devices in slots) and all(
        _fits_node_pool(question, pool, [devices for name, devices in slots if name == pool.name])
        for pool in question.scenario.cluster.node_pools
    )


def _fits_node_pool(question: Question, pool: NodePool, sizes: Sequence[int]) -> bool:
    packs = set(sizes) <= set(question.counts[pool.name])
    return sum(sizes) <= (pool.devices if packs else pool.devices_per_node)


def _allocation(
    question: Question, placement: Placement, slots: tuple[Slot, ...], pools: Sequence[Choices]
) -> Allocation:
    numbers = np.indices([len(pool.us) for pool in pools]).reshape(len(pools), -1)
    us = np.zeros((numbers.shape[1], len(question.calls)), dtype=np.int64)
    for call, service_us in question.service_us.items():
        us[:, question.calls.index(call)] = service_us
    for pool, rows in zip(pools, numbers, strict=True):
        us[:, [question.calls.index(call) for call in pool.calls]] = pool.us[rows]
    return Allocation(question, placement, slots, us)


def pool_numbers(question: Question, placement: Placement) -> list[int | None]:
    """The pool of each call; none of calls that take no devices."""
    homes = {role: number for number, roles in enumerate(placement) for role in roles}
    return [homes.get(call.role) for call in question.graph.calls]


def waits_of(question: Question, placement: Placement, slots: Sequence[Slot]) -> list[Wait]:
    """What each call waits for, with the time that it takes to cross between node pools."""
    numbers = dict(zip(question.calls, pool_numbers(question, placement), strict=True))
    waits = []
    for each in question.graph.dependences:
        pools = [numbers[name] for name in (each.source, each.target) if numbers[name] is not None]
        crosses = len({slots[pool][0] for pool in pools}) > 1
        delay = question.crossing_us(each) if crosses else 0
        waits.append((question.calls.index(each.source), question.calls.index(each.target), each.lag, delay))
    return waits


def _choices(question: Question, roles: tuple[str, ...], slot: Slot) -> Choices | None:
    """Every combination of the roles' raw options that the slot's devices and hosts can hold."""
    node_pool = question.node_pools[slot[0]]
    us, sums, peak = np.zeros((1, 0), dtype=np.int64), np.zeros((1, 2), dtype=np.int64), np.zeros(1, np.int64)
    for role in roles:
        own = _costed(question, role, slot)
        if own is None:
            return None
        one, other = (each.ravel() for each in np.indices((len(us), len(own[0]))))
        us = np.concatenate([us[one], own[0][other]], axis=1)
        sums = sums[one] + own[1][other]
        peak = np.maximum(peak[one], own[2][other])
    fits = sums[:, 0] + peak <= node_pool.device.usable_memory
    if node_pool.host_memory is not None:
        fits &= sums[:, 1] <= node_pool.host_memory // node_pool.devices_per_node
    calls = [call.name for role in roles for call in question.graph.calls_of(role)]
    return Choices(calls, np.unique(us[fits], axis=0)) if fits.any() else None


def _costed(question: Question, role: str, slot: Slot) -> tuple[Whole, Whole, Whole] | None:
    """Microseconds by call, (persistent, host) bytes and transient bytes of each raw option."""
    node_pool, calls = question.node_pools[slot[0]], question.graph.calls_of(role)
    us, sums, peaks = [], [], []
    for strategy in question.permitted(role, slot):
        memory = question.costs.memory(role, strategy, node_pool)
        predictions = [question.costs.call(call, strategy, node_pool) for call in calls]
        us.append([math.ceil(each.seconds / 1e-6) for each in predictions])
        sums.append([memory.persistent_bytes, memory.host])
        peaks.append(memory.transient_bytes)
    if not us:
        return None
    table = np.unique(np.column_stack([us, sums, peaks]).astype(np.int64), axis=0)
    return table[:, : len(calls)], table[:, len(calls) : -1], table[:, -1]


def is_as_pinned(scenario: Scenario, role: str, slot: Slot, strategy: RoleStrategy) -> bool:
    """Whether a role's strategy on a slot is as the scenario's pins of that role demand."""
    fields = strategy.model_dump()
    own = {**fields, "node_pool": slot[0], "devices": slot[1]}
    return all(
        (own if not key.phase else fields[key.phase])[key.field] == value
        for key, value in scenario.pin.root.items()
        if key.role == role
    )
