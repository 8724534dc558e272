"""Simulated annealing: a fair opponent that never wins."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from planner.search.objectives.budgets import device_prices
from planner.search.problem import Problem, prepare
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers.annealing import Effort, anneal
from planner.search.solvers.exhaustive import solve_exhaustively
from tests.planner.search.by_hand import assert_sound

Build = Callable[..., Any]
CLUSTERS = ([(1, 3)], [(1, 4)], [(2, 2)], [(1, 2), (1, 2)])
SHORT = Effort(restarts=4, changes=6_000)


def random_problem(synthetic: Build, seed: int, **changes: Any) -> Problem:
    settings = {"pools": CLUSTERS[seed % len(CLUSTERS)], "bytes_scale": (0.6, 1.1, 1.5)[seed % 3]}
    return prepare(*synthetic(seed, **settings | changes).arguments)


@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_it_never_beats_the_optimum_and_mostly_finds_it(synthetic: Build, time_model: str) -> None:
    optimal = 0
    for seed in range(8):
        problem = replace(random_problem(synthetic, seed), time_model=time_model)
        oracle, walked = solve_exhaustively(problem), anneal(problem, effort=SHORT)
        assert oracle is not None
        assert walked is not None
        assert_sound(problem, walked.pools)
        assert walked.objective_us == evaluate(problem, walked.pools).objective_us
        assert walked.objective_us >= oracle.solution.objective_us
        optimal += walked.objective_us == oracle.solution.objective_us
    assert optimal >= 6


def test_one_seed_is_one_walk(synthetic: Build) -> None:
    problem = random_problem(synthetic, 1)
    one, other = (anneal(problem, seed=3, effort=SHORT) for _ in range(2))
    assert one == other


def test_where_nothing_fits_it_finds_nothing(synthetic: Build) -> None:
    assert anneal(random_problem(synthetic, 0, bytes_scale=40.0), effort=SHORT) is None


def test_demands_and_a_budget_are_obeyed(synthetic: Build) -> None:
    demands = {"colocate": (("actor", "reward"),), "apart": (("actor", "critic"),)}
    for seed in range(4):
        problem = random_problem(synthetic, seed, pools=[(1, 2), (1, 3)], bytes_scale=0.6, **demands)
        prices = device_prices(problem)
        limited = prices.under(4)
        walked = anneal(limited, effort=SHORT)
        assert limited.budget is not None
        assert walked is not None
        assert_sound(problem, walked.pools)
        assert prices.total(walked) <= 4
