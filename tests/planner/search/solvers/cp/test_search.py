"""The search for the best plan, and for the first of equals."""

import pytest

from planner.search.bounds.floors import NEVER, Floors
from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers.cp.search import Clock, Found, Limits, Search
from tests.planner.search.by_hand import Option, pool, problem_of, takes


def search(problem: Problem, **limits: float) -> Search:
    return Search.of(Floors.of(problem), Clock.start(Limits(**limits)))


def side_by_side(**changes: object) -> Problem:
    """A takes 8 or on two devices 5, B always 5."""
    options = {"A": {1: [takes(8)], 2: [takes(5)]}, "B": {1: [takes(5)], 2: [takes(5)]}}
    return problem_of([("A", 0), ("B", 0)], options, **changes)


BEST = (pool("A", 2), pool("B", 1))
"""Within 5, and of such plans the one of the fewest devices."""


@pytest.mark.parametrize(("limit_us", "objective_us"), [(100, 5), (5, 5), (4, None)])
def test_the_best_plan_within_a_limit_is_proven_or_that_there_is_none(
    limit_us: int, objective_us: int | None
) -> None:
    found = search(side_by_side()).best(None, limit_us)
    assert found.is_proven
    assert (found.solution and found.solution.objective_us) == objective_us


def test_a_plan_as_good_as_the_floor_of_all_pools_needs_no_search() -> None:
    known = evaluate(side_by_side(), BEST)
    found = search(side_by_side(), time_limit_s=0.0).best(known, 100)
    assert found == Found(solution=known, bound_us=5)


def test_a_search_that_is_late_keeps_the_known_plan_and_a_true_bound() -> None:
    known = evaluate(side_by_side(), (pool("A", 1), pool("B", 1)))
    found = search(side_by_side(), time_limit_s=0.0).best(known, 100)
    assert found.solution == known
    assert found.bound_us <= 5
    assert not found.is_proven


def test_of_equals_the_first_has_the_fewest_devices() -> None:
    problem = side_by_side()
    wide = evaluate(problem, (pool("A", 2), pool("B", 2)))
    assert search(problem).first(wide) == evaluate(problem, BEST)


def test_fewer_devices_come_before_less_seconds_of_all_calls() -> None:
    """B hides what A takes, 6 on one device or 4 on two."""
    options = {"A": {1: [takes(6)], 2: [takes(4)]}, "B": {1: [takes(9)]}}
    problem = problem_of([("A", 0), ("B", 0)], options)
    wide, narrow = (evaluate(problem, (pool("A", devices), pool("B", 1))) for devices in (2, 1))
    assert search(problem).first(wide) == search(problem).first(narrow) == narrow


def test_of_as_many_devices_the_first_has_the_least_seconds_of_all_calls_and_then_the_fewest_bytes() -> None:
    """B hides what A takes: 4 and 10 bytes come before 4 and 20 bytes, and both before 6 and none."""
    options = {
        "A": {1: [takes(6), takes(4, persistent=20), takes(4, persistent=10)]},
        "B": {1: [takes(9, persistent=85)]},
    }
    problem = problem_of([("A", 0), ("B", 0)], options)
    best = evaluate(problem, (pool("A", 1, 0), pool("B", 1)))
    assert search(problem).first(best) == evaluate(problem, (pool("A", 1, 2), pool("B", 1)))


@pytest.mark.parametrize(
    ("alone", "shared", "first"),
    [
        (takes(4, persistent=60), takes(4, persistent=30), (pool("A B", 2),)),
        (takes(4, persistent=51), takes(4, persistent=30, transient=40), (pool("A", 1), pool("B", 1))),
    ],
)
def test_bytes_decide_between_placements_too(
    alone: Option, shared: Option, first: tuple[PoolChoice, ...]
) -> None:
    """On two devices together, or each on one, which has no room for both: the same devices and seconds."""
    options = {role: {1: [alone], 2: [shared]} for role in "AB"}
    problem = problem_of([("A", 0), ("B", 1)], options)
    for pools in ((pool("A B", 2),), (pool("A", 1), pool("B", 1))):
        assert search(problem).first(evaluate(problem, pools)) == evaluate(problem, first)


def test_a_search_without_a_plan_is_proven_when_nothing_is_left() -> None:
    some = Solution(pools=BEST, objective_us=5)
    assert Found(solution=None, bound_us=NEVER).is_proven
    assert not Found(solution=None, bound_us=7).is_proven
    assert Found(solution=some, bound_us=5).is_proven
    assert not Found(solution=some, bound_us=4).is_proven


def test_a_clock_without_a_limit_is_never_late() -> None:
    assert not Clock.start(Limits()).is_late
    assert Clock.start(Limits(time_limit_s=0.0)).is_late
    assert not Clock.start(Limits(time_limit_s=60.0)).is_late


def test_solves_end_by_the_clock_or_by_deterministic_time() -> None:
    endless = Clock.start(Limits(seed=7, workers=2)).solver().parameters
    assert (endless.random_seed, endless.num_workers) == (7, 2)
    assert endless.max_deterministic_time == 60.0
    limited = Clock.start(Limits(time_limit_s=60.0)).solver().parameters
    assert 50 < limited.max_time_in_seconds <= 60
