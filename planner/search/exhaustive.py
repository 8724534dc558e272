"""Every placement, every allocation, every combination of options: the oracle that other solvers are held to.

Combinations of options are enumerated per pool (`planner.search.fronts`) and those that cannot matter merged
away there; placements and allocations are enumerated one by one. An allocation is skipped when even the
fastest stage of each pool, taken alone, adds up to no less than the best plan of the placement so far.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from planner.domain.placement import Placement, placements
from planner.search.allocation import Slot, enumerate_allocations
from planner.search.dominance import undominated
from planner.search.fronts import Front, pool_fronts
from planner.search.problem import RUNNERS_UP, Answer, PoolChoice, Problem, Solution


def solve_exhaustively(problem: Problem) -> Answer | None:
    """The best plan and the runners-up, or none when nothing fits."""
    by_placement = list(best_of_each_placement(problem))
    ranked = sorted(by_placement, key=lambda solution: solution.objective_us)
    if not ranked:
        return None
    best, *others = ranked
    return Answer(solution=best, bound_us=best.objective_us, runners_up=tuple(others[:RUNNERS_UP]))


def best_of_each_placement(problem: Problem) -> Iterable[Solution]:
    """The best plan of each placement that has any."""
    fronts: dict[tuple[str, ...], dict[Slot, Front]] = {}
    for front in pool_fronts(problem):
        fronts.setdefault(front.roles, {})[front.slot] = front
    for placement in placements(problem.roles):
        if all(block in fronts for block in placement):
            solution = _best_of(problem, placement, [fronts[block] for block in placement])
            if solution is not None:
                yield solution


def _best_of(
    problem: Problem, placement: Placement, fronts: Sequence[Mapping[Slot, Front]]
) -> Solution | None:
    fastest = [{slot: front.stage_us.min(axis=0) for slot, front in by_slot.items()} for by_slot in fronts]
    best: Solution | None = None
    for slots in enumerate_allocations([list(by_slot) for by_slot in fronts], problem.capacities):
        floor = np.max([by_slot[slot] for by_slot, slot in zip(fastest, slots, strict=True)], axis=0).sum()
        if best is None or floor < best.objective_us:
            chosen = [by_slot[slot] for by_slot, slot in zip(fronts, slots, strict=True)]
            cost, rows = _best_combination(chosen)
            if best is None or cost < best.objective_us:
                best = Solution(pools=_pools(placement, chosen, rows), objective_us=cost)
    return best


def _best_combination(fronts: Sequence[Front]) -> tuple[int, list[int]]:
    """Least sum over stages of the maximum over pools, one combination out of each front, and their rows."""
    stage_us = fronts[0].stage_us
    rows = np.arange(len(stage_us))[:, None]
    for front in fronts[1:]:
        one, other = (grid.ravel() for grid in np.indices((len(stage_us), len(front))))
        stage_us = np.maximum(stage_us[one], front.stage_us[other])
        rows = np.concatenate([rows[one], other[:, None]], axis=1)
        kept = undominated(stage_us)
        stage_us, rows = stage_us[kept], rows[kept]
    costs = stage_us.sum(axis=1)
    at = int(costs.argmin())
    return int(costs[at]), rows[at].tolist()


def _pools(placement: Placement, fronts: Sequence[Front], rows: Sequence[int]) -> tuple[PoolChoice, ...]:
    return tuple(
        PoolChoice(roles=block, slot=front.slot, rows=tuple(front.rows[row].tolist()))
        for block, front, row in zip(placement, fronts, rows, strict=True)
    )
