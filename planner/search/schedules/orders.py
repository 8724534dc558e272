"""Orders of calls with the least period: of all of them the ones with the least ahead, then program order.

A pool runs its calls over and over in one order, some of them for later iterations than others. Counted from
where each pool's period begins, call c of period j is of iteration j + a_c; its start is that of iteration
a_c, s_c + a_c P. Seen so, each pool ends one period before it begins the next, and a wait of lag l from c to
d has the lag l + a_c - a_d: schedules whose calls are ahead by a are schedules without interleaving under
those lags. Offsets are tried by their sum, then in program order, and the pools' orders are then fixed call
by call to the first in program order that still allows the period.

Offsets begin at the least that the waits allow. When all paths of waits from a to b together ask for
s_b >= s_a + w, a pool's period has room for both only if (a_b - a_a) P <= P - d_b - w.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product

from planner.costs.cycles import positive_cycle
from planner.search.problem import PoolChoice, Problem
from planner.search.schedules.periods import Schedule, Waits, best_schedule, fixed_plan, link_load_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What every pool runs in each period, and how long a period is at best."""

    schedule: Schedule
    calls: tuple[tuple[int, ...], ...]
    """Of each pool, in the order in which it runs them."""
    ahead: tuple[int, ...]
    """Of each call: iterations that it is ahead of the rearmost one of its pool."""


def orders_of(problem: Problem, pools: Sequence[PoolChoice]) -> Orders:
    """The orders of a problem's solution."""
    durations, homes, waits = fixed_plan(problem, pools)
    at_least_us = max(1, link_load_us(problem, pools))
    found = best_orders(durations, homes, waits, interleaves=problem.interleaves, at_least_us=at_least_us)
    assert found is not None, "a dataflow has no circle within one iteration"
    return found


def best_orders(
    durations_us: Sequence[int],
    pools: Sequence[int | None],
    waits: Waits,
    *,
    interleaves: bool = True,
    at_least_us: int = 1,
) -> Orders | None:
    """The orders of least period, least ahead and first in program order; none when nothing is a schedule.

    Takes what `planner.search.schedules.periods.best_schedule` takes. Pools are numbered from 0.
    """
    best = best_schedule(durations_us, pools, waits, interleaves=interleaves, at_least_us=at_least_us)
    if best is None:
        return None
    members = _members(pools)
    choice = _Choice(durations_us, pools, waits, best.period_us)
    ahead = next(each for each in _offsets(choice.least_offsets(), members) if choice.schedule(each, []))
    before: list[tuple[int, int, int, int]] = []
    orders = []
    for pool in members:
        order, before = choice.first_order(ahead, pool, before)
        orders.append(order)
    schedule = choice.schedule(ahead, before)
    assert schedule is not None, "the orders were fixed so that they allow the period"
    return Orders(schedule=_unshifted(schedule, ahead), calls=tuple(orders), ahead=ahead)


class _Choice:
    """Schedules of one period under offsets and orders."""

    def __init__(
        self, durations_us: Sequence[int], pools: Sequence[int | None], waits: Waits, period_us: int
    ) -> None:
        self.durations_us, self.pools, self.waits, self.period_us = durations_us, pools, waits, period_us

    def schedule(self, ahead: tuple[int, ...], before: Waits) -> Schedule | None:
        """One with these offsets in which the first of each pair of ``before`` runs before the second."""
        waits = [
            (source, target, lag + ahead[source] - ahead[target], delay)
            for source, target, lag, delay in self.waits
        ]
        return best_schedule(
            self.durations_us,
            self.pools,
            [*waits, *before],
            interleaves=False,
            at_least_us=self.period_us,
            at_most_us=self.period_us,
        )

    def least_offsets(self) -> list[int]:
        """Of each call; no schedule has less of any."""
        period, paths = self.period_us, self._paths()
        room = [
            (b, a, -((period - self.durations_us[b] - apart) // period), 0)
            for a, row in enumerate(paths)
            for b, apart in enumerate(row)
            if a != b and apart is not None and self.pools[a] is not None and self.pools[a] == self.pools[b]
        ]
        offsets = [0] * len(self.pools)
        contradiction = positive_cycle(room, 0, offsets)
        assert not contradiction, "the period was chosen so that schedules exist"
        return offsets

    def _paths(self) -> list[list[int | None]]:
        """Longest path of waits from each call to each other, in microseconds less lags in periods."""
        calls = range(len(self.pools))
        longest: list[list[int | None]] = [[None for _ in calls] for _ in calls]
        for source, target, lag, delay in self.waits:
            length = self.durations_us[source] + delay - lag * self.period_us
            known = longest[source][target]
            longest[source][target] = length if known is None else max(length, known)
        for middle, a, b in product(calls, calls, calls):
            first, second, known = longest[a][middle], longest[middle][b], longest[a][b]
            if first is not None and second is not None:
                longest[a][b] = first + second if known is None else max(known, first + second)
        return longest

    def first_order(
        self, ahead: tuple[int, ...], pool: Sequence[int], before: list[tuple[int, int, int, int]]
    ) -> tuple[tuple[int, ...], list[tuple[int, int, int, int]]]:
        """A pool's first order that is possible after the orders fixed before, and all that is fixed then."""
        order: list[int] = []
        left = list(pool)
        while left:
            for call in left:
                fixed = [*before, *((call, other, 0, 0) for other in left if other != call)]
                if len(left) == 1 or self.schedule(ahead, fixed):
                    break
            before = fixed
            order.append(call)
            left.remove(call)
        return tuple(order), before


def _members(pools: Sequence[int | None]) -> list[list[int]]:
    last = max((pool for pool in pools if pool is not None), default=-1)
    return [[call for call, home in enumerate(pools) if home == pool] for pool in range(last + 1)]


def _offsets(least: Sequence[int], members: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Every way to put calls ahead, from the least on, by the sum, later calls before earlier ones.

    A call alone on its pool is ahead of none.
    """
    free = sorted(call for pool in members if len(pool) > 1 for call in pool)
    for total in count():
        for parts in _parts(total, len(free)):
            more = dict(zip(free, parts, strict=True))
            yield tuple(offset + more.get(call, 0) for call, offset in enumerate(least))


def _parts(total: int, places: int) -> Iterator[tuple[int, ...]]:
    """Ways to write a total as so many parts, in lexicographic order."""
    if places <= 1:
        if places or not total:
            yield (total,) * places
        return
    for first in range(total + 1):
        for others in _parts(total - first, places - 1):
            yield (first, *others)


def _unshifted(schedule: Schedule, ahead: tuple[int, ...]) -> Schedule:
    """The same with the starts of iteration 0, the earliest of them at 0."""
    starts = [
        start - offset * schedule.period_us for start, offset in zip(schedule.start_us, ahead, strict=True)
    ]
    return Schedule(
        period_us=schedule.period_us, start_us=tuple(start - min(starts, default=0) for start in starts)
    )
