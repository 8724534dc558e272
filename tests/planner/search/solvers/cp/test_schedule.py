"""A program whose cost is the exact period."""

from dataclasses import replace

import pytest

from planner.search.bounds.floors import Floors
from planner.search.problem import Problem, Wait
from planner.search.solvers.cp.schedule import FAR, circular_waits, least_lags
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from tests.planner.search.by_hand import Waits, problem_of, takes


def wait(source: int, target: int, lag: int = 0) -> Wait:
    return Wait(source=source, target=target, lag=lag)


def test_the_least_lag_is_that_of_the_way_with_the_fewest_iterations() -> None:
    """From 2 back to 1 it is one iteration by way of 0, and two directly."""
    lags = least_lags(3, [wait(0, 1), wait(1, 2), wait(2, 0, 1), wait(2, 1, 2)])
    assert lags == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_where_there_is_no_way_the_lag_is_far() -> None:
    lags = least_lags(2, [wait(0, 1)])
    assert lags[0][1] == 0
    assert min(lags[1][0], lags[0][0], lags[1][1]) >= FAR


def letters(count: int, waits: Waits) -> Problem:
    roles = "ABCDE"[:count]
    options = {role: {1: [takes(1)]} for role in roles}
    return problem_of([(role, 0) for role in roles], options, waits=waits, time_model="period")


def test_waits_on_circles_stay_and_parts_that_others_connect_are_tied() -> None:
    """Calls 0 and 1 wait for each other, 2 and 3 too; the wait between the two pairs lies on no circle."""
    waits = [(0, 1, 0), (1, 0, 1), (1, 2, 0), (2, 3, 0), (3, 2, 1)]
    circular, ties = circular_waits(letters(4, waits))
    assert {(each.source, each.target) for each in circular} == {(0, 1), (1, 0), (2, 3), (3, 2)}
    assert {(each.source, each.target, each.lag) for each in ties} == {(0, 2, 0), (2, 0, 1)}


def test_one_circle_needs_no_ties() -> None:
    circular, ties = circular_waits(letters(3, [(0, 1, 0), (1, 2, 0), (2, 0, 1)]))
    assert (len(circular), ties) == (3, [])


def period_us(problem: Problem) -> int:
    found = solve_with_cpsat(problem, Limits(), runners_up=0)
    assert found is not None
    assert found.status == "optimal"
    return found.solution.objective_us


def test_where_the_bound_is_not_enough_the_schedule_decides() -> None:
    """Turns of 1 and 3 of A with B's 2 between and C's 2 after, over two iterations.

    A's pool takes 4 and half the circle 4, yet a period of 5 has no room for A's calls
    (`test_calls_that_share_a_pool_fragment_the_circle`).
    """
    options = {"A": {1: [takes(1, 3)]}, "B": {1: [takes(2)]}, "C": {1: [takes(2)]}}
    calls = [("A", 0), ("B", 0), ("A", 0), ("C", 0)]
    waits = [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 0, 2)]
    problem = problem_of(calls, options, waits=waits, time_model="period")
    assert Floors.of(problem).pools.least_us == 4
    assert period_us(problem) == 6


@pytest.mark.parametrize(("interleaves", "expected"), [(True, 6), (False, 11)])
def test_the_next_iteration_fills_a_gap_where_pools_interleave(interleaves: bool, expected: int) -> None:
    """Two turns of 3 with a judge of 5 between, two iterations at once."""
    options = {"A": {1: [takes(3, 3)]}, "B": {1: [takes(5)]}}
    settings = {"waits": [(0, 1, 0), (1, 2, 0), (2, 0, 2)], "time_model": "period"}
    calls = [("A", 0), ("B", 0), ("A", 0)]
    assert period_us(problem_of(calls, options, **settings, interleaves=interleaves)) == expected


@pytest.mark.parametrize(("interleaves", "expected"), [(True, 6), (False, 11)])
def test_roles_that_share_a_pool_end_one_iteration_before_the_next(interleaves: bool, expected: int) -> None:
    """The same with the turns of two roles in one pool, which no bound knows."""
    options = {"A": {1: [takes(3)]}, "B": {1: [takes(5)]}, "C": {1: [takes(3)]}}
    settings = {"waits": [(0, 1, 0), (1, 2, 0), (2, 0, 2)], "time_model": "period"}
    demands = {"together": (frozenset("AC"),), "apart": (frozenset("AB"),)}
    problem = problem_of([(role, 0) for role in options], options, **settings, **demands)
    assert Floors.of(problem).pools.least_us == 6
    assert period_us(replace(problem, interleaves=interleaves)) == expected
