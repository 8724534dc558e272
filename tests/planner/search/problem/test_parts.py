"""Plans that must lie in one node pool, against all plans but those that lie in several."""

from dataclasses import replace

import pytest

from planner.domain.plan import Solver
from planner.search.problem import Problem
from planner.search.problem.parts import parts, whole_parts
from planner.search.solvers import Limits, answer
from planner.search.solvers.exhaustive import best_of_each_placement
from tests.planner.search.by_hand import problem_of, slot, takes
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


def test_lone_slots_are_there_beside_others_of_one_node_only() -> None:
    """Eight devices in two nodes: 3 + 1 of one node fit, three pools of 3 do not pack."""
    options = {role: {count: [takes(9 - count)] for count in (1, 2, 3, 4, 8)} for role in "ABC"}
    lone = frozenset({slot(3)})
    problem = problem_of([(role, 0) for role in "ABC"], options, devices=8, node_devices={"a": 4}, lone=lone)
    whole, single = parts(problem)
    assert set(whole.options["A"]) == {slot(count) for count in (1, 2, 4, 8)}
    assert set(single.options["A"]) == {slot(count) for count in (1, 2, 3, 4)}
    assert (dict(whole.capacities), dict(single.capacities)) == ({"a": 8}, {"a": 4})
    assert whole_parts(problem) == (whole,)


@pytest.mark.parametrize("solver", ["cpsat", "dp", "exhaustive"])
def test_a_plan_on_a_single_node_is_found_on_several(solver: Solver) -> None:
    """Only 3 + 1 devices of one of the two nodes are as fast as that."""
    options = {"A": {1: [takes(9)], 3: [takes(1)], 4: [takes(5)]}, "B": {1: [takes(2)], 4: [takes(4)]}}
    problem = problem_of(
        [("A", 0), ("B", 0)],
        options,
        devices=8,
        node_devices={"a": 4},
        lone=frozenset({slot(3)}),
        apart=(frozenset("AB"),),
    )
    found = answer(problem, solver=solver, cluster=CLUSTER, limits=Limits())
    assert found is not None
    assert [pool.slot.devices for pool in found.solution.pools] == [3, 1]
    assert found.solution.objective_us == found.bound_us == 2
