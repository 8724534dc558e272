"""The best plans of the other placements, few of which need a search.

The quick plans say how good the last of the runners-up is at least. A placement whose pools cannot all be
part of a plan as good is out; of the others each is searched alone, which takes little, as only its own pools
are in question and each of them is bounded by the others.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from planner.domain.placement import Placement
from planner.search.bounds.floors import NEVER, Floors, Pools, members
from planner.search.problem import Problem, Solution

BestOf = Callable[[Pools, Solution | None, int], Solution | None]
"""The best plan made of some pools in at most so long, given one or none that does; none when late."""


def best_others(
    floors: Floors,
    quick: Mapping[Placement, Solution],
    best_of: BestOf,
    *,
    beside: Placement,
    least_us: int,
    at_most_us: int,
    count: int,
) -> tuple[Solution, ...]:
    """The best plan of each of so many other placements, best first; of equals by their roles' names.

    Parameters
    ----------
    quick
        Some plan of some of the placements.
    beside
        The placement that does not count.
    least_us
        What no plan undercuts: plans that cost no more need no search.
    """
    known = {
        placement: solution
        for placement, solution in quick.items()
        if placement != beside and solution.objective_us <= at_most_us
    }
    others = rivals(floors, _limit(known, at_most_us, count)) if count else ()
    for placement in sorted(others, key=lambda each: _objective(known, each)):
        limit_us = _limit(known, at_most_us, count)
        if len(known) >= count and limit_us <= least_us:
            break
        own = known.get(placement)
        pools = Pools.of_placement(floors, placement)
        if placement != beside and pools.least_us <= limit_us:
            is_close = own is not None and own.objective_us <= limit_us
            found = best_of(pools, own if is_close else None, limit_us)
            if found is not None:
                known[placement] = found
    ranked = sorted(known, key=lambda each: (known[each].objective_us, each))
    return tuple(known[placement] for placement in ranked[:count])


def _limit(known: Mapping[Placement, Solution], at_most_us: int, count: int) -> int:
    """The objective that the last of the runners-up has at most."""
    objectives = sorted(solution.objective_us for solution in known.values())
    return objectives[count - 1] if len(objectives) >= count else at_most_us


def _objective(known: Mapping[Placement, Solution], placement: Placement) -> int:
    return known[placement].objective_us if placement in known else NEVER


def rivals(floors: Floors, limit_us: int) -> Iterator[Placement]:
    """The placements whose pools may each be part of a plan within a limit, and fit the devices together."""
    within = floors.pools.within(limit_us)
    devices = np.array([slot.devices for slot in floors.resources.slots], dtype=np.int64)
    fewest = np.where(within, devices, NEVER).min(axis=1)
    there = sum(floors.problem.capacities.values())
    possible = {roles: int(fewest[roles]) for roles in np.flatnonzero(within.any(axis=1)).tolist()}
    yield from _partitions(floors.problem, possible, 0, there)


def _partitions(problem: Problem, possible: Mapping[int, int], placed: int, left: int) -> Iterator[Placement]:
    """The partitions of the roles not placed into possible sets, which need so many devices each."""
    missing = ~placed & (placed + 1)
    if missing >> len(problem.roles):
        yield ()
        return
    for roles, devices in possible.items():
        if roles & -roles == missing and not roles & placed and devices <= left:
            for others in _partitions(problem, possible, placed | roles, left - devices):
                yield (members(problem, roles), *others)
