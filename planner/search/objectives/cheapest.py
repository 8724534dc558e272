"""The plan whose price an hour, times its time, is least: branch and bound over the price.

Both factors are whole numbers, so is what is minimised: micro-dollars an hour times microseconds. Let P(C) be
the least time of a plan that costs at most C an hour. It never rises with C. A plan that costs more than C_lo
and at most C_hi therefore takes at least P(C_hi), and its product is at least the next price above C_lo times
that. An interval of prices is dropped as soon as this is no less than the best product known; else its upper
end is asked for P and the rest cut in two. Before a solver is asked, floors of the time, and the least work
that all roles together need (`Prices.work`), take the place of P.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from planner.search.objectives.budgets import Prices
from planner.search.objectives.fastest import ANY_TIME, Fastest, Found, Reply
from planner.search.problem import Solution

FIRST_CUTS = 1.5
"""Ratio of the ends of the intervals that the search starts from."""
UNKNOWN = 2**200
"""More than any plan's product."""


@dataclass(frozen=True, slots=True, order=True)
class _Interval:
    """Numbers of some prices in a row, both ends included, by the floor of their plans' products."""

    bound: int
    low: int
    high: int


def cheapest_plan(prices: Prices, fastest: Fastest, *, within_us: int = ANY_TIME) -> Found:
    """The plan of least price times time among those that take at most so long."""
    search = _Branching(
        prices=prices, fastest=fastest, within_us=within_us, totals=prices.reachable().tolist()
    )
    search.run()
    best, bound = search.best, search.bound
    if best is None:
        return Found(answer=None, bound=bound, is_proven=bound == UNKNOWN)
    budget = prices.under(prices.total(best))
    return Found(
        answer=fastest.plan_or(best, budget, at_most_us=within_us),
        bound=bound,
        is_proven=bound == search.least,
    )


@dataclass(kw_only=True)
class _Branching:
    """The state of one search."""

    prices: Prices
    fastest: Fastest
    within_us: int
    totals: list[int]
    """Prices an hour that plans can have, rising."""
    best: Solution | None = None
    open: list[_Interval] = field(default_factory=list)
    """A heap."""
    unproven: int = UNKNOWN
    """Floor of what was asked for and not answered in time."""

    @property
    def least(self) -> int:
        """The best product known."""
        return UNKNOWN if self.best is None else self.product(self.best)

    @property
    def bound(self) -> int:
        """What no plan's product undercuts."""
        return min(self.least, self.unproven, self.open[0].bound if self.open else UNKNOWN)

    def product(self, solution: Solution) -> int:
        """Price an hour times microseconds."""
        return self.prices.total(solution) * solution.objective_us

    def run(self) -> None:
        """Branch until every interval is dropped or the time is up."""
        for interval in self._first_intervals():
            self._look_quickly(interval)
            heapq.heappush(self.open, interval)
        while self.open and self.open[0].bound < self.least and not self.fastest.is_late:
            self._branch(heapq.heappop(self.open))
        if self.open and self.open[0].bound >= self.least:
            self.open.clear()

    def _first_intervals(self) -> Iterator[_Interval]:
        low = 0
        while low < len(self.totals):
            high = max(low, bisect_left(self.totals, int(self.totals[low] * FIRST_CUTS)) - 1)
            yield from self._interval(low, high, floor_us=0)
            low = high + 1

    def _look_quickly(self, interval: _Interval) -> None:
        if interval.bound < self.least:
            for solution in self.fastest.quick(self.prices.under(self.totals[interval.high])):
                self._keep_better(solution)

    def _branch(self, interval: _Interval) -> None:
        """Ask for the least time at the upper end, and keep what may still be better of the rest."""
        limit_us = min(self.within_us, (self.least - 1) // self.totals[interval.low])
        reply = self.fastest.plan(
            self.prices.under(self.totals[interval.high]), at_most_us=limit_us, runners_up=0
        )
        if reply.answer is not None:
            self._keep_better(reply.answer.solution)
        if not _is_proven(reply, limit_us):
            self.unproven = min(self.unproven, interval.bound)
            return
        affordable = [
            number
            for number in range(interval.low, interval.high + 1)
            if self.totals[number] * reply.bound_us < self.least
        ]
        if affordable and reply.bound_us <= self.within_us:
            low, high = interval.low, affordable[-1]
            middle = (low + high) // 2
            for part in ((low, middle), (middle + 1, high)):
                for rest in self._interval(*part, floor_us=reply.bound_us):
                    heapq.heappush(self.open, rest)

    def _interval(self, low: int, high: int, *, floor_us: int) -> Iterator[_Interval]:
        """The interval, unless it is empty or nothing in it can be short enough or better."""
        if low > high:
            return
        problem = self.prices.under(self.totals[high])
        floor_us = max(floor_us, self.fastest.floor_us(problem))
        if floor_us <= self.within_us:
            bound = max(self.totals[low] * floor_us, self.prices.work(problem))
            if bound < self.least:
                yield _Interval(bound, low, high)

    def _keep_better(self, solution: Solution) -> None:
        if solution.objective_us <= self.within_us and self.product(solution) < self.least:
            self.best = solution


def _is_proven(reply: Reply, limit_us: int) -> bool:
    if reply.answer is None:
        return reply.bound_us > limit_us
    return reply.bound_us >= reply.answer.solution.objective_us
