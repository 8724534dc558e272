"""Good plans quickly."""

from dataclasses import replace

from planner.search.bounds.floors import Floors
from planner.search.problem import Problem
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers.beam import COARSE_SLOTS, quick_solutions
from planner.search.solvers.exhaustive import best_of_each_placement
from tests.planner.search.by_hand import assert_sound, problem_of, takes
from tests.planner.search.random_problems import random_problem


def quick(problem: Problem) -> list[int]:
    return [each.objective_us for each in quick_solutions(problem, Floors.of(problem)).values()]


def test_quick_plans_are_sound_one_of_each_placement_and_best_first() -> None:
    found = best = 0
    for seed in range(30):
        problem = random_problem(seed)
        if not all(problem.options.values()):
            continue
        optimal = {each.placement: each.objective_us for each in best_of_each_placement(problem)}
        solutions = quick_solutions(problem, Floors.of(problem))
        objectives = [each.objective_us for each in solutions.values()]
        assert objectives == sorted(objectives)
        for placement, solution in solutions.items():
            assert solution.placement == placement
            assert solution == evaluate(problem, solution.pools)
            assert solution.objective_us >= optimal[placement]
            assert_sound(problem, solution.pools)
        found += bool(solutions)
        best += bool(solutions) and objectives[0] == min(optimal.values())
    assert found >= 15
    assert best >= 0.9 * found, "it mostly finds the best plan of all"


def test_a_role_without_options_has_no_plan() -> None:
    problem = random_problem(3)
    homeless = replace(problem, options={**problem.options, problem.roles[0]: {}})
    assert quick_solutions(homeless, Floors.of(homeless)) == {}


def test_where_nothing_fits_together_no_plan_is_found() -> None:
    options = {role: {1: [takes(5, persistent=60)]} for role in "AB"}
    assert quick(problem_of([("A", 0), ("B", 0)], options, devices=1)) == []
    assert quick(problem_of([("A", 0), ("B", 0)], options, devices=2)) == [5]


def test_the_second_run_finds_a_device_count_that_the_first_leaves_out() -> None:
    """Of 24 device counts the first run takes 1, 2, 3, 4, 6, 8, 12, 16 and 24; that of 23 is the fastest."""
    assert COARSE_SLOTS < 24
    options = {"A": {devices: [takes(5 if devices == 23 else 40 - devices)] for devices in range(1, 25)}}
    assert quick(problem_of([("A", 0)], options, devices=24)) == [5]
