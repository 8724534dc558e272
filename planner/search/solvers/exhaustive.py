"""Every placement, every allocation, every combination of options: the oracle that other solvers are held to.

Combinations of options are enumerated per pool (`planner.search.bounds.fronts`) and those that cannot matter
merged away there; placements and allocations are enumerated one by one. An allocation is skipped when even
the fastest of each pool, taken alone, cost no less than the best plan of the placement so far; a combination,
when its lower bound does.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from planner.domain.placement import placements
from planner.search.arrays import Integers
from planner.search.bounds.features import Features
from planner.search.bounds.floors import Floors, bit_set, members
from planner.search.bounds.front import Front
from planner.search.bounds.fronts import Fronts
from planner.search.options.dominance import undominated
from planner.search.problem import RUNNERS_UP, Answer, Problem, Solution
from planner.search.problem.allocation import Slot, enumerate_allocations
from planner.search.schedules.evaluation import evaluate_within


def solve_exhaustively(problem: Problem, *, runners_up: int = RUNNERS_UP) -> Answer | None:
    """The best plan and the runners-up, or none when nothing fits."""
    if not all(problem.options.values()):
        return None
    ranked = sorted(best_of_each_placement(problem), key=lambda solution: solution.objective_us)
    if not ranked:
        return None
    best, *others = ranked
    return Answer(solution=best, bound_us=best.objective_us, runners_up=tuple(others[:runners_up]))


def best_of_each_placement(problem: Problem) -> Iterable[Solution]:
    """The best plan of each placement that has any."""
    floors = Floors.of(problem)
    is_stage = problem.time_model == "stage"
    fronts = Fronts(floors=floors, compared=floors.features if is_stage else Features.by_call(problem))
    sets = (members(problem, roles) for roles in range(1, 1 << len(problem.roles)))
    tables = {block: _tables(fronts, block) for block in sets}
    for placement in placements(problem.roles):
        if all(tables[block] for block in placement):
            solution = _best_of(floors, [tables[block] for block in placement])
            if solution is not None:
                yield solution


def _tables(fronts: Fronts, block: tuple[str, ...]) -> dict[Slot, Front]:
    """The combinations of a set of roles by slot."""
    slots = fronts.floors.resources.slots
    if not fronts.problem.may_share(block):
        return {}
    front = fronts.of(bit_set(fronts.problem, block), np.ones(len(slots), dtype=bool))
    return {slots[at]: front.take(np.flatnonzero(front.at == at)) for at in np.unique(front.at).tolist()}


def _best_of(floors: Floors, tables: Sequence[Mapping[Slot, Front]]) -> Solution | None:
    features = floors.features
    fastest = [{slot: table.us.min(axis=0) for slot, table in by_slot.items()} for by_slot in tables]
    best: Solution | None = None
    for slots in enumerate_allocations([list(by_slot) for by_slot in tables], floors.problem.capacities):
        floor = np.max([by_slot[slot] for by_slot, slot in zip(fastest, slots, strict=True)], axis=0)
        if floors.resources.fit(slots) and (best is None or features.bound_us(floor) < best.objective_us):
            chosen = [by_slot[slot] for by_slot, slot in zip(tables, slots, strict=True)]
            best = _best_combination(floors, chosen, best)
    return best


def _best_combination(floors: Floors, tables: Sequence[Front], best: Solution | None) -> Solution | None:
    """The better of a known plan and the best one out of one combination of each pool's."""
    us, rows = _combinations(floors.features, tables)
    bounds = floors.features.bound_us(us)
    slots = floors.resources.slots
    for at in np.argsort(bounds, kind="stable"):
        if best is not None and bounds[at] >= best.objective_us:
            break
        pools = [table.choice(row, slots) for table, row in zip(tables, rows[at].tolist(), strict=True)]
        better = evaluate_within(floors.problem, pools, None if best is None else best.objective_us - 1)
        best = better or best
    return best


def _combinations(features: Features, tables: Sequence[Front]) -> tuple[Integers, Integers]:
    """What they take, shape (combinations, features), and their rows, shape (combinations, pools).

    Under ``stage`` the features decide alone, and combinations that take no less than another are dropped.
    """
    us = tables[0].us
    rows = np.arange(len(us))[:, None]
    for table in tables[1:]:
        one, other = (grid.ravel() for grid in np.indices((len(us), len(table.us))))
        us = np.maximum(us[one], table.us[other])
        rows = np.concatenate([rows[one], other[:, None]], axis=1)
        if features.problem.time_model == "stage":
            kept = undominated(us)
            us, rows = us[kept], rows[kept]
    return us, rows
