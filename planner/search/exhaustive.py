"""Every placement, every allocation, every combination of options: the oracle that other solvers are held to.

Combinations of options are enumerated per pool (`planner.search.fronts`) and those that cannot matter merged
away there; placements and allocations are enumerated one by one. An allocation is skipped when even the
fastest of each pool, taken alone, cost no less than the best plan of the placement so far; a combination,
when its lower bound does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.domain.placement import Placement, placements
from planner.search.allocation import Slot, enumerate_allocations
from planner.search.dominance import Integers, undominated
from planner.search.evaluation import evaluate_within
from planner.search.features import Features
from planner.search.fronts import Front, Fronts
from planner.search.problem import RUNNERS_UP, Answer, Problem, Solution
from planner.search.resources import Resources


def solve_exhaustively(problem: Problem, *, runners_up: int = RUNNERS_UP) -> Answer | None:
    """The best plan and the runners-up, or none when nothing fits."""
    ranked = sorted(best_of_each_placement(problem), key=lambda solution: solution.objective_us)
    if not ranked:
        return None
    best, *others = ranked
    return Answer(solution=best, bound_us=best.objective_us, runners_up=tuple(others[:runners_up]))


def best_of_each_placement(problem: Problem) -> Iterable[Solution]:
    """The best plan of each placement that has any."""
    features, resources = Features.of(problem), Resources.of(problem)
    seen = features if problem.time_model == "stage" else Features.by_call(problem)
    tables: dict[tuple[str, ...], dict[Slot, Table]] = {}
    for front in Fronts(problem=problem, features=seen).all():
        tables.setdefault(front.roles, {})[front.slot] = Table.of(front, features)
    for placement in placements(problem.roles):
        if all(block in tables for block in placement):
            solution = _best_of(features, resources, placement, [tables[block] for block in placement])
            if solution is not None:
                yield solution


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The combinations of one pool, and what they take of the features that bound plans."""

    front: Front
    us: Integers
    """Shape (rows, features)."""

    @classmethod
    def of(cls, front: Front, features: Features) -> "Table":
        own = [features.us(role, front.slot) for role in front.roles]
        return cls(front=front, us=sum(us[rows] for us, rows in zip(own, front.rows.T, strict=True)))


def _best_of(
    features: Features, resources: Resources, placement: Placement, tables: Sequence[Mapping[Slot, Table]]
) -> Solution | None:
    problem = features.problem
    fastest = [{slot: table.us.min(axis=0) for slot, table in by_slot.items()} for by_slot in tables]
    best: Solution | None = None
    for slots in enumerate_allocations([list(by_slot) for by_slot in tables], problem.capacities):
        floor = np.max([by_slot[slot] for by_slot, slot in zip(fastest, slots, strict=True)], axis=0)
        if resources.fit(slots) and (best is None or features.bound_us(floor) < best.objective_us):
            chosen = [by_slot[slot] for by_slot, slot in zip(tables, slots, strict=True)]
            best = _best_combination(features, chosen, best)
    return best


def _best_combination(features: Features, tables: Sequence[Table], best: Solution | None) -> Solution | None:
    """The better of a known plan and the best one out of one combination of each pool's."""
    us, rows = _combinations(features, tables)
    floors = features.bound_us(us)
    for at in np.argsort(floors, kind="stable"):
        if best is not None and floors[at] >= best.objective_us:
            break
        pools = [table.front.choice(row) for table, row in zip(tables, rows[at].tolist(), strict=True)]
        better = evaluate_within(features.problem, pools, None if best is None else best.objective_us - 1)
        best = better or best
    return best


def _combinations(features: Features, tables: Sequence[Table]) -> tuple[Integers, Integers]:
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
