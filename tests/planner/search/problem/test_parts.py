"""Plans that must lie in one node pool, against all plans but those that lie in several."""

from dataclasses import replace

import pytest

from planner.domain.plan import Solver
from planner.search.problem import Problem
from planner.search.problem.parts import parts
from planner.search.solvers import Limits, answer
from planner.search.solvers.exhaustive import best_of_each_placement
from tests.planner.search.random_problems import random_problem
from tests.planner.search.toys import PPO, small_scenario

CLUSTER = small_scenario(PPO).cluster
SEEDS = [seed for seed in range(40) if len(random_problem(seed).capacities) > 1][:12]


def least_us(problem: Problem) -> dict[object, int]:
    """The least time of each placement of the plans whose pools lie in one node pool."""
    found: dict[object, int] = {}
    for name in problem.capacities:
        options = {
            role: {slot: table for slot, table in tables.items() if slot.node_pool == name}
            for role, tables in problem.options.items()
        }
        if all(options.values()):
            for solution in best_of_each_placement(replace(problem, options=options)):
                assert {pool.slot.node_pool for pool in solution.pools} == {name}
                least = min(found.get(solution.placement, solution.objective_us), solution.objective_us)
                found[solution.placement] = least
    return found


@pytest.mark.parametrize("solver", ["cpsat", "dp", "exhaustive"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_plan_inside_one_node_pool_is_found_and_proved(seed: int, solver: Solver) -> None:
    problem = replace(random_problem(seed), spreads=False)
    found = answer(problem, solver=solver, cluster=CLUSTER, limits=Limits())
    expected = least_us(problem)
    if not expected:
        assert found is None
        return
    assert found is not None
    assert found.solution.objective_us == found.bound_us == min(expected.values())
    assert len({pool.slot.node_pool for pool in found.solution.pools}) == 1
    others = {solution.placement: solution.objective_us for solution in found.runners_up}
    assert found.solution.placement not in others
    ranked = sorted(us for placement, us in expected.items() if placement != found.solution.placement)
    assert list(others.values()) == ranked[: len(others)]


def test_a_problem_that_may_spread_and_has_no_lone_slots_is_one() -> None:
    problem = random_problem(SEEDS[0])
    assert parts(problem) == (problem,)
    whole = replace(problem, spreads=False)
    assert [tuple(part.capacities) for part in parts(whole)] == [(name,) for name in problem.capacities]
