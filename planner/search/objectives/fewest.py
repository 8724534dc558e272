"""The fewest devices on which some plan takes at most so long."""

from bisect import bisect_left

import numpy as np

from planner.search.arrays import Integers
from planner.search.bounds.floors import NEVER
from planner.search.objectives.budgets import Prices, device_prices
from planner.search.objectives.fastest import ANY_TIME, Fastest, Found
from planner.search.problem import Problem, Solution


def fewest_devices(problem: Problem, fastest: Fastest, *, within_us: int = ANY_TIME) -> Found:
    """The fewest devices of a plan that takes at most so long, and with so few the fastest plan.

    Every plan under a budget is one under each greater budget, so the least time never rises with the budget,
    and the smallest budget under which it is short enough can be bisected: among floors first, then, from
    the smallest budget that they leave upwards, with plans.
    """
    prices = device_prices(problem)
    counts = prices.reachable()
    proven = low = _first_possible(prices, counts, fastest, within_us)
    high = len(counts)
    best: Solution | None = None
    while low < high:
        middle = min((low + high) // 2, 2 * low)
        solution, bound_us = _short_enough(prices.under(int(counts[middle])), fastest, within_us)
        if solution is not None:
            best, high = solution, int(np.searchsorted(counts, prices.total(solution)))
            continue
        low = middle + 1
        if bound_us > within_us:
            proven = low
    bound = int(counts[proven]) if proven < len(counts) else NEVER
    if best is None:
        return Found(answer=None, bound=bound, is_proven=bound == NEVER)
    budget = prices.under(prices.total(best))
    return Found(
        answer=fastest.plan_or(best, budget, at_most_us=within_us), bound=bound, is_proven=proven == high
    )


def _first_possible(prices: Prices, counts: Integers, fastest: Fastest, within_us: int) -> int:
    """The first count whose floors do not exceed the time."""

    def is_possible(count: int) -> bool:
        budget = prices.under(count)
        floor_us = fastest.floor_us(budget)
        return floor_us <= within_us and prices.work(budget) <= count * within_us

    return bisect_left(range(len(counts)), True, key=lambda number: is_possible(int(counts[number])))


def _short_enough(problem: Problem, fastest: Fastest, within_us: int) -> tuple[Solution | None, int]:
    """A plan that takes at most so long, if one is found, else a time that no plan undercuts."""
    quick = next((each for each in fastest.quick(problem) if each.objective_us <= within_us), None)
    if quick is not None:
        return quick, 0
    if fastest.is_late:
        return None, 0
    reply = fastest.plan(problem, at_most_us=within_us, runners_up=0)
    return (None, reply.bound_us) if reply.answer is None else (reply.answer.solution, reply.bound_us)
