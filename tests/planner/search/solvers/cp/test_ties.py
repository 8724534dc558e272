"""The written order of plans, against all plans one by one."""

import random

import pytest

from planner.search.problem import Problem, Solution
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from tests.planner.search.by_hand import every_plan, problem_of, takes

CALLS = (("A", 0), ("B", 1), ("C", 1), ("B", 2), ("A", 2))
"""As in PPO: A generates, B and C prepare, B and A learn."""
WAITS = ((0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 0), (1, 4, 0), (2, 4, 0), (3, 1, 1), (4, 0, 1))


def tied(seed: int, **changes: object) -> Problem:
    """Three roles on three devices whose calls take 1 or 2, so that many plans are equally good."""
    draw = random.Random(seed)

    def options(calls: int) -> dict[int, list[object]]:
        return {
            devices: [
                takes(
                    *(draw.randint(1, 2) for _ in range(calls)),
                    persistent=draw.randint(10, 40),
                    transient=draw.randint(0, 20),
                )
                for _ in range(3)
            ]
            for devices in (1, 2, 3)
        }

    tables = {"A": options(2), "B": options(2), "C": options(1)}
    return problem_of(CALLS, tables, waits=WAITS, devices=3, **changes)


def rank(problem: Problem, solution: Solution) -> tuple[int, ...]:
    """Objective, devices, microseconds of all calls, and bytes."""
    rows = [
        (problem.options[role][pool.slot], row)
        for pool in solution.pools
        for role, row in zip(pool.roles, pool.rows, strict=True)
    ]
    return (
        solution.objective_us,
        sum(pool.slot.devices for pool in solution.pools),
        sum(int(table.call_us[row].sum()) for table, row in rows),
        sum(int(table.persistent[row] + table.transient[row] + table.host[row]) for table, row in rows),
    )


@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_the_first_of_equally_good_plans_is_taken(time_model: str) -> None:
    decided = 0
    for seed in range(12):
        problem = tied(seed, time_model=time_model)
        ranks = sorted(rank(problem, each) for each in every_plan(problem))
        found = solve_with_cpsat(problem, Limits(), runners_up=0)
        assert found is not None
        assert rank(problem, found.solution) == ranks[0], seed
        decided += len({other for other in ranks if other[0] == ranks[0][0]}) > 3
    assert decided >= 6, "equally good plans differ in what comes after"


def test_runners_up_are_the_best_of_their_placements() -> None:
    for seed in range(4):
        problem = tied(seed)
        best: dict[object, tuple[int, ...]] = {}
        for each in every_plan(problem):
            own = rank(problem, each)
            best[each.placement] = min(best.get(each.placement, own), own)
        found = solve_with_cpsat(problem, Limits())
        assert found is not None
        for each in found.runners_up:
            assert rank(problem, each)[0] == best[each.placement][0]
        others = sorted(own[0] for placement, own in best.items() if placement != found.solution.placement)
        assert [each.objective_us for each in found.runners_up] == others[:3]
