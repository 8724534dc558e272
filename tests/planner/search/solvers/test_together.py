"""The best of several problems' answers."""

import pytest

from planner.errors import SearchStoppedError
from planner.search.problem import Answer, Solution
from planner.search.solvers.together import Together
from tests.planner.search.by_hand import pool

TOGETHER, APART = (pool("A B", 2),), (pool("A", 1), pool("B", 1))


def solution(us: int, *, apart: bool = False, devices: int = 2) -> Solution:
    return Solution(pools=APART if apart else (pool("A B", devices),), objective_us=us)


def answer(best: Solution, *others: Solution, bound_us: int | None = None) -> Answer:
    bound_us = best.objective_us if bound_us is None else bound_us
    return Answer(solution=best, bound_us=bound_us, runners_up=others)


def test_of_answers_the_best_counts_and_each_placement_once() -> None:
    both = Together(at_most_us=100, runners_up=3)
    both.add(answer(solution(9), solution(12, apart=True)))
    both.add(answer(solution(7, apart=True), solution(8)))
    found = both.best()
    assert found == answer(solution(7, apart=True), solution(8))


def test_of_equals_the_one_on_fewer_devices_counts() -> None:
    both = Together(at_most_us=100, runners_up=0)
    both.add(answer(solution(9, devices=4)))
    both.add(answer(solution(9, devices=3)))
    found = both.best()
    assert found is not None
    assert found.solution.devices == 3


def test_only_what_may_be_among_the_runners_up_is_of_interest() -> None:
    both = Together(at_most_us=100, runners_up=1)
    both.add(answer(solution(9)))
    assert both.limit_us == 100
    both.add(answer(solution(20, apart=True)))
    assert both.limit_us == 20
    assert Together(at_most_us=5, runners_up=1).limit_us == 5


def test_the_floor_of_a_problem_that_was_stopped_bounds_all_plans() -> None:
    both = Together(at_most_us=100, runners_up=0)
    both.add(answer(solution(9)))
    both.stop(6)
    found = both.best()
    assert found is not None
    assert (found.bound_us, found.status) == (6, "feasible")


def test_a_stopped_problem_of_slower_plans_does_not_matter() -> None:
    both = Together(at_most_us=100, runners_up=0)
    both.add(answer(solution(9)))
    both.stop(10)
    found = both.best()
    assert found is not None
    assert found.status == "optimal"


def test_without_any_answer_there_is_no_plan_or_nothing_is_known() -> None:
    nothing = Together(at_most_us=100, runners_up=0)
    nothing.add(None)
    assert nothing.best() is None
    nothing.stop(5)
    with pytest.raises(SearchStoppedError):
        nothing.best()
