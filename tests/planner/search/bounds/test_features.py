"""What of a pool the rest of a plan notices, and the bounds that follow."""

import random

import numpy as np
import pytest

from planner.search.bounds.features import Features
from planner.search.bounds.floors import Floors
from planner.search.problem import PoolChoice, Problem
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers.moves import Moves
from tests.planner.search.by_hand import pool, problem_of, takes
from tests.planner.search.random_problems import random_problem


def taken(problem: Problem, pools: list[PoolChoice] | tuple[PoolChoice, ...]) -> np.ndarray:
    """What a plan of these pools takes of each feature."""
    features = Features.of(problem)
    us = [
        sum(features.us(role, each.slot)[row] for role, row in zip(each.roles, each.rows, strict=True))
        for each in pools
    ]
    return np.max(us, axis=0)


def bound_us(problem: Problem, *pools: PoolChoice) -> int:
    """What the features say that a plan of these pools costs at least."""
    return int(Features.of(problem).bound_us(taken(problem, pools)))


APART, TOGETHER = (pool("A", 1), pool("B", 1)), (pool("A B", 1),)


def three_stages(**changes: object) -> Problem:
    """A in stages 0 and 2 for 5 and 3, B in 1 and 2 for 4 and 2, and a service in stage 1."""
    calls = [("A", 0), ("B", 1), (None, 1), ("A", 2), ("B", 2)]
    return problem_of(calls, {"A": {1: [takes(5, 3)]}, "B": {1: [takes(4, 2)]}}, **changes)


@pytest.mark.parametrize(("service_us", "apart", "together"), [(0, 5 + 4 + 3, 5 + 4 + 5), (7, 15, 17)])
def test_the_stage_cost_sums_the_slowest_pools_of_the_stages(
    service_us: int, apart: int, together: int
) -> None:
    """Calls of one pool add up in a stage; a service counts as a pool of its own."""
    problem = three_stages(service_us=service_us)
    assert bound_us(problem, *APART) == apart
    assert bound_us(problem, *TOGETHER) == together


def in_a_circle(lag: int, **changes: object) -> Problem:
    """A for 5, then B for 4, then A again some iterations later."""
    options = {"A": {1: [takes(5)], ("b", 1): [takes(5)]}, "B": {1: [takes(4)], ("b", 1): [takes(4)]}}
    settings = {"devices": {"a": 2, "b": 2}, "time_model": "period", "waits": [(0, 1, 0), (1, 0, lag)]}
    return problem_of([("A", 0), ("B", 0)], options, **settings | changes)


@pytest.mark.parametrize(("lag", "apart"), [(1, 9), (2, 5), (3, 5)])
def test_a_period_holds_the_busiest_pool_and_its_part_of_every_circle(lag: int, apart: int) -> None:
    """A circle of 9 takes 9, half of it rounded up, or a third, while the busiest pool takes 5."""
    assert bound_us(in_a_circle(lag), *APART) == apart
    assert bound_us(in_a_circle(lag), *TOGETHER) == 9


@pytest.mark.parametrize(("lag", "least_us"), [(1, 7), (2, 4), (3, 3)])
def test_a_part_of_a_circle_is_rounded_up(lag: int, least_us: int) -> None:
    """A circle of 3 + 2 + 2 over some iterations; no pool takes more than 3."""
    options = {"A": {1: [takes(3)]}, "B": {1: [takes(2)]}, "C": {1: [takes(2)]}}
    waits = [(0, 1, 0), (1, 2, 0), (2, 0, lag)]
    problem = problem_of([(role, 0) for role in options], options, waits=waits, time_model="period")
    assert bound_us(problem, *(pool(role, 1) for role in options)) == least_us


def test_calls_side_by_side_bound_a_circle_by_the_busiest_of_their_pools() -> None:
    """A for 5, then B for 4 beside C for 3, then D for 2."""
    options = {"A": {1: [takes(5)]}, "B": {1: [takes(4)]}, "C": {1: [takes(3)]}, "D": {1: [takes(2)]}}
    waits = [(0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 0), (3, 0, 1)]
    problem = problem_of([(role, 0) for role in options], options, waits=waits, time_model="period")
    assert bound_us(problem, *(pool(role, 1) for role in options)) == 5 + 4 + 2
    assert bound_us(problem, pool("A", 1), pool("B C", 1), pool("D", 1)) == 5 + 7 + 2
    assert bound_us(problem, pool("A D", 1), pool("B", 1), pool("C", 1)) == 5 + 4 + 2


def test_a_service_lasts_in_a_circle_whatever_the_pools() -> None:
    options = {"A": {1: [takes(5)]}}
    waits = [(0, 1, 0), (1, 0, 1)]
    problem = problem_of([("A", 0), (None, 0)], options, waits=waits, service_us=6, time_model="period")
    assert bound_us(problem, pool("A", 1)) == 11


def test_waits_between_node_pools_lengthen_a_circle() -> None:
    """Both waits of the circle cross, 10 each; in one node pool neither does."""
    problem = in_a_circle(1, crossing_us=10)
    assert bound_us(problem, *APART) == 9
    assert bound_us(problem, pool("A", 1), pool("B", ("b", 1))) == 9 + 2 * 10
    assert bound_us(problem, pool("A", ("b", 1)), pool("B", ("b", 1))) == 9


@pytest.mark.parametrize(("lag", "least_us"), [(1, 9 + 2 * 12), (2, 17), (3, 12), (9, 12)])
def test_a_link_bounds_the_period_by_what_crosses_in_one_direction(lag: int, least_us: int) -> None:
    """The circle of 33 takes a part of its lag; either direction takes 12."""
    problem = in_a_circle(lag, crossing_us=12)
    assert bound_us(problem, pool("A", 1), pool("B", ("b", 1))) == least_us
    assert bound_us(problem, *TOGETHER) == 9


def fanned_out() -> Problem:
    """A, then B and C, on any of three node pools; every wait takes 10 to cross."""
    options = {role: {(name, 1): [takes(5)] for name in "abc"} for role in "ABC"}
    settings = {"devices": dict.fromkeys("abc", 3), "time_model": "period", "crossing_us": 10}
    return problem_of([(role, 0) for role in "ABC"], options, waits=[(0, 1, 0), (0, 2, 0)], **settings)


@pytest.mark.parametrize(("homes", "least_us"), [("aaa", 5), ("aab", 10), ("abb", 20), ("abc", 10)])
def test_every_link_has_a_load_of_its_own(homes: str, least_us: int) -> None:
    """Nothing waits in a circle, so that only loads count."""
    problem, pools = fanned_out(), [pool(role, (home, 1)) for role, home in zip("ABC", homes, strict=True)]
    assert bound_us(problem, *pools) == least_us == evaluate(problem, pools).objective_us


def test_links_that_cannot_decide_are_left_out() -> None:
    """A alone takes 5, and 2 + 2 cross."""
    assert Features.of(in_a_circle(3, crossing_us=2)).loads == {}
    assert Features.of(in_a_circle(3, crossing_us=3)).loads == {("A", "B"): 3, ("B", "A"): 3}


def test_roles_that_are_not_placed_are_not_known_to_lie_apart() -> None:
    assert bound_us(in_a_circle(1, crossing_us=10), pool("A", 1)) == 5


def test_only_a_load_is_a_bound_of_its_own() -> None:
    """The first feature under ``period`` is the load; links and stages are added up with others."""
    assert Features.of(in_a_circle(1)).is_bound.tolist() == [True, False, False]
    assert Features.of(three_stages()).is_bound.tolist() == [False] * 3
    one_stage = problem_of([("A", 0)], {"A": {1: [takes(5)]}})
    assert Features.of(one_stage).is_bound.tolist() == [True]


def test_by_call_every_call_is_seen_for_itself() -> None:
    problem = three_stages()
    features = Features.by_call(problem)
    assert features.us("A", pool("A", 1).slot).tolist() == [[5, 0, 3, 0]]
    assert features.us("B", pool("B", 1).slot).tolist() == [[0, 4, 0, 2]]


@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_no_plan_costs_less_than_its_bound(time_model: str) -> None:
    """Any plan, not only the best one; under ``stage`` the bound is the cost itself."""
    tight = loose = 0
    for seed in range(60):
        problem = random_problem(seed, time_model=time_model)
        pools = all(problem.options.values()) and Moves(problem=problem, random=random.Random(seed)).start()
        if pools:
            cost_us, least_us = evaluate(problem, pools).objective_us, bound_us(problem, *pools)
            assert least_us <= cost_us <= Floors.of(problem).ceiling_us
            tight, loose = tight + (least_us == cost_us), loose + (least_us < cost_us)
    assert tight >= 20
    assert (loose > 0) == (time_model == "period")
