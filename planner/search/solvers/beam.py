"""Good plans quickly: the upper bounds that let the exact search drop most of the table first.

The search runs twice where the grid is fine: first on some of the device counts, then on all of them, but
only with pools that may be part of a plan better than the first run's.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from planner.domain.placement import Placement
from planner.search.arrays import Booleans
from planner.search.bounds.floors import NEVER, Floors
from planner.search.bounds.front import Front
from planner.search.bounds.fronts import Fronts
from planner.search.bounds.merging import Partials, merged
from planner.search.bounds.resources import Resources
from planner.search.problem import RUNNERS_UP, PoolChoice, Problem, Solution
from planner.search.schedules.evaluation import evaluate

FRONT_WIDTH = 12
"""Combinations kept of each set of roles and slot."""
BEAM_WIDTH = 48
"""Partial plans kept of each set of roles that they place."""
COARSE_SLOTS = 20
"""Slots of a node pool up to which one run takes them all."""
MOST_POOLS = 2000
"""Pools of the second run: those whose plans may cost the least."""


def quick_solutions(
    problem: Problem, floors: Floors, exact: Fronts | None = None, *, limit_us: int = NEVER
) -> dict[Placement, Solution]:
    """The best plan found of each placement for which one was found and evaluated, best placement first.

    Parameters
    ----------
    exact
        The fronts by feature that the caller will go on with.
    limit_us
        Longest time of interest: pools that take longer are left out.
    """
    if not all(problem.options.values()):
        return {}
    narrow = Fronts(floors=floors, compared=floors.features, width=FRONT_WIDTH, exact=exact)
    coarse = floors.pools.within(limit_us) & _coarse(floors.resources)
    found = _evaluated(problem, _searched(narrow, coarse))
    if coarse.any(axis=0).sum() < len(floors.resources.slots):
        limit_us = min([floors.ceiling_us, limit_us, *(solution.objective_us for solution in found)])
        for solution in _evaluated(problem, _searched(narrow, _promising(floors, limit_us))):
            found.append(solution)
    best: dict[Placement, Solution] = {}
    for solution in sorted(found, key=lambda solution: solution.objective_us):
        best.setdefault(solution.placement, solution)
    return best


def _coarse(resources: Resources) -> Booleans:
    """Of each node pool with many slots those of 1, 2, 3, 4, 6, 8, ... times its parts, and the greatest."""
    chosen = np.zeros(len(resources.slots), dtype=bool)
    names = [slot.node_pool for slot in resources.slots]
    for name in dict.fromkeys(names):
        own = [at for at, other in enumerate(names) if other == name]
        for at in own:
            devices = resources.slots[at].devices
            power = devices & -devices
            chosen[at] = len(own) <= COARSE_SLOTS or devices // power in (1, 3)
        chosen[own[-1]] = True
    return chosen


def _promising(floors: Floors, limit_us: int) -> Booleans:
    within = floors.pools.within(limit_us)
    if within.sum() > MOST_POOLS:
        least = np.sort(floors.pools.floor_us[within])[MOST_POOLS]
        within &= floors.pools.floor_us < least
    return within


def _evaluated(problem: Problem, found: Sequence[tuple[int, Sequence[PoolChoice]]]) -> list[Solution]:
    """The plans with their exact objectives, as far as they may be among the best few."""
    solutions: list[Solution] = []
    for least_us, pools in found:
        exact = sorted(solution.objective_us for solution in solutions)
        if len(exact) <= RUNNERS_UP or least_us < exact[RUNNERS_UP]:
            solutions.append(evaluate(problem, pools))
    return solutions


def _searched(narrow: Fronts, allowed: Booleans) -> list[tuple[int, list[PoolChoice]]]:
    """The best plan of each placement that is found, with its lower bound, the least bound first.

    Of the partial plans that place the same roles the most promising go on: those whose features, raised to
    what the missing roles take at least of what is left, cost the least.
    """
    floors = narrow.floors
    fronts = {
        roles: narrow.of(roles, allowed[roles]) for roles in np.flatnonzero(allowed.any(axis=1)).tolist()
    }
    everything = (1 << len(floors.problem.roles)) - 1

    def best(placed: int, partials: Partials) -> Partials:
        if placed == everything:
            return partials
        raised = np.maximum(partials.us, floors.of_missing(placed, partials.left))
        return partials.take(np.argsort(floors.features.bound_us(raised), kind="stable")[:BEAM_WIDTH])

    return _best_of_each_placement(floors, fronts, merged(floors, fronts, best))


def _best_of_each_placement(
    floors: Floors, fronts: Mapping[int, Front], plans: Partials
) -> list[tuple[int, list[PoolChoice]]]:
    cost = floors.features.bound_us(plans.us)
    order = np.argsort(cost, kind="stable")
    _, first = np.unique(plans.sets[order], axis=0, return_index=True)
    slots = floors.resources.slots
    return [(int(cost[plan]), plans.choices(plan, fronts, slots)) for plan in order[np.sort(first)].tolist()]
