"""What of colocated roles' options may be dropped, and what may not."""

import numpy as np
import pytest

from planner.search.bounds.floors import Floors, members
from planner.search.bounds.front import Front
from planner.search.bounds.fronts import Fronts
from planner.search.problem import Problem
from tests.planner.search.by_hand import Option, fitting_rows, problem_of, slot, takes
from tests.planner.search.random_problems import random_problem

A, AB = 1, 3
"""Bit sets of the first role, and of the first two."""
LATE = 1000
"""Microseconds above all plans."""


def fronts_of(problem: Problem, **settings: int) -> Fronts:
    floors = Floors.of(problem)
    return Fronts(floors=floors, compared=floors.features, **settings)


def rows_of(front: Front) -> set[tuple[int, ...]]:
    return set(map(tuple, front.rows.tolist()))


def within(problem: Problem, roles: int = A, limit_us: int = LATE) -> set[tuple[int, ...]]:
    """The combinations that a plan within the limit may contain."""
    fronts = fronts_of(problem)
    return rows_of(fronts.within(roles, fronts.floors.pools, limit_us))


def one_device(*options: Option, beside: Option) -> Problem:
    """Options of A, and one of B in a stage of its own, on one device."""
    return problem_of([("A", 0), ("B", 1)], {"A": {1: options}, "B": {1: [beside]}})


def test_a_slower_option_is_kept_where_only_its_bytes_leave_room() -> None:
    """The fast option of 60 bytes does not fit beside B's 70, the slow one of 20 does."""
    problem = one_device(takes(5, persistent=60), takes(8, persistent=20), beside=takes(3, persistent=70))
    assert within(problem, AB) == {(1, 0)}


def test_alone_in_its_pool_a_role_has_only_its_fastest_option() -> None:
    problem = one_device(takes(5, persistent=60), takes(8, persistent=20), beside=takes(3, persistent=70))
    assert within(problem) == {(0,)}


def test_a_smaller_option_is_dropped_where_the_faster_one_always_fits() -> None:
    problem = one_device(takes(5, persistent=60), takes(8, persistent=20), beside=takes(3, persistent=40))
    assert within(problem, AB) == {(0, 0)}


def test_persistent_and_transient_bytes_are_told_apart() -> None:
    """Both options of A have 60 bytes, but beside B's 50 transient ones only the persistent count.

    Beside B's other option neither fits, so that the bytes of both matter.
    """
    own = [takes(5, persistent=40, transient=20), takes(8, persistent=20, transient=40)]
    beside = [takes(3, persistent=30, transient=50), takes(1, persistent=60, transient=50)]
    problem = problem_of([("A", 0), ("B", 1)], {"A": {1: own}, "B": {1: beside}})
    assert within(problem, AB) == {(1, 0)}


def test_bytes_of_the_host_are_told_apart_where_they_are_short() -> None:
    options = {"A": {1: [takes(5, host=40), takes(8)]}, "B": {1: [takes(3, host=30)]}}
    for host_memory, kept in ((60, {(1, 0)}), (70, {(0, 0)})):
        problem = problem_of([("A", 0), ("B", 1)], options, host_memory={"a": host_memory})
        assert within(problem, AB) == kept


def test_options_that_trade_one_stage_for_another_are_both_kept() -> None:
    options = {"A": {1: [takes(5, 2), takes(3, 4), takes(5, 3)]}}
    assert within(problem_of([("A", 0), ("A", 1)], options)) == {(0,), (1,)}


def test_more_devices_are_worth_it_only_where_they_are_faster() -> None:
    options = {"A": {1: [takes(8)], 2: [takes(5)], 4: [takes(5)]}}
    fronts = fronts_of(problem_of([("A", 0)], options))
    front = fronts.within(A, fronts.floors.pools, LATE)
    assert [fronts.floors.resources.slots[at] for at in front.at] == [slot(1), slot(2)]


def test_devices_of_one_node_pool_do_not_stand_for_those_of_another() -> None:
    """The slower device of the node pool b is kept: what else lies in a is not known."""
    options = {"A": {1: [takes(5)], ("b", 1): [takes(8)], ("b", 2): [takes(8)]}}
    fronts = fronts_of(problem_of([("A", 0)], options, devices={"a": 2, "b": 2}))
    front = fronts.within(A, fronts.floors.pools, LATE)
    assert [fronts.floors.resources.slots[at] for at in front.at] == [slot(1), slot(("b", 1))]


def traded() -> Problem:
    """A takes 3 + 8 or 6 + 6 in two stages, B beside it 4 in the second, both on a device of their own."""
    options = {"A": {1: [takes(3, 8), takes(6, 6)]}, "B": {1: [takes(4)]}}
    return problem_of([("A", 0), ("A", 1), ("B", 1)], options, devices=2)


@pytest.mark.parametrize(
    ("limit_us", "alone", "together"),
    [
        (16, {(0,), (1,)}, {(0, 0)}),
        (15, {(0,), (1,)}, {(0, 0)}),
        (11, {(0,)}, set()),
        (10, set(), set()),
    ],
)
def test_what_only_plans_above_the_limit_contain_is_dropped(
    limit_us: int, alone: set[tuple[int, ...]], together: set[tuple[int, ...]]
) -> None:
    """Alone 3 + 8 or 6 + 6, as B overlaps; together with B 3 + 12, or 6 + 10, which never is any better."""
    assert within(traded(), A, limit_us) == alone
    assert within(traded(), AB, limit_us) == together


def test_a_wider_limit_is_answered_after_a_narrower_one() -> None:
    fronts = fronts_of(traded())
    found = [rows_of(fronts.within(A, fronts.floors.pools, limit_us)) for limit_us in (11, 16, 11)]
    assert found == [{(0,)}, {(0,), (1,)}, {(0,)}]


def test_what_the_others_take_anyway_hides_what_a_pool_takes() -> None:
    """Of 6 + 1 and 4 + 2 the first is enough where B lies apart and takes 9 in the first stage."""
    options = {"A": {1: [takes(6, 1), takes(4, 2)]}, "B": {1: [takes(9)]}}
    calls = [("A", 0), ("A", 1), ("B", 0)]
    assert within(problem_of(calls, options, apart=(frozenset("AB"),))) == {(0,)}
    assert within(problem_of(calls, options)) == {(0,)}
    shorter = {**options, "B": {1: [takes(5)]}}
    assert within(problem_of(calls, shorter)) == {(0,), (1,)}


def test_what_any_plan_takes_hides_a_pools_load() -> None:
    """A circle of A's 4 or 5 and B's 9 takes 13 at least, which holds A's load of 12 or 11 as well."""
    options = {"A": {1: [takes(4, 8), takes(5, 6)]}, "B": {1: [takes(9)]}}
    waits = [(0, 2, 0), (2, 0, 1)]
    problem = problem_of([("A", 0), ("A", 0), ("B", 0)], options, waits=waits, time_model="period")
    assert Floors.of(problem).pools.least_us == 13
    assert within(problem) == {(0,)}


def hidden() -> Problem:
    """A takes 6 or 4, both less than the 9 of B, which always lies apart."""
    options = {
        "A": {1: [takes(6, persistent=10), takes(4, persistent=50)]},
        "B": {1: [takes(9, persistent=60)]},
    }
    return problem_of([("A", 0), ("B", 0)], options, devices=2, apart=(frozenset("AB"),))


def test_of_options_that_nobody_can_tell_apart_one_is_enough() -> None:
    assert len(within(hidden())) == 1


def test_of_a_narrow_front_three_quarters_are_the_fastest_and_one_the_smallest() -> None:
    """Six options of A, each slower and smaller than the one before; B may need the room."""
    options = {
        "A": {1: [takes(us, persistent=90 - us) for us in range(10, 70, 10)]},
        "B": {1: [takes(1, persistent=95), takes(2, persistent=5)]},
    }
    narrow = fronts_of(problem_of([("A", 0), ("B", 1)], options), width=4)
    narrow.of(AB, np.ones(1, dtype=np.bool_))
    assert rows_of(narrow.made["A",]) == {(0,), (1,), (2,), (5,)}


@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_every_combination_that_fits_is_covered_by_one_of_the_front(time_model: str) -> None:
    covered = 0
    for seed in range(12):
        problem = random_problem(seed, time_model=time_model)
        if not all(problem.options.values()):
            continue
        fronts = fronts_of(problem)
        everywhere = np.ones(len(fronts.floors.resources.slots), dtype=np.bool_)
        for roles in range(1, min(8, 1 << len(problem.roles))):
            names = members(problem, roles)
            front = fronts.of(roles, everywhere)
            for at, where in enumerate(fronts.floors.resources.slots):
                if not all(where in problem.options[name] for name in names):
                    continue
                own = front.us[front.at == at]
                us = [fronts.floors.features.us(name, where) for name in names]
                for rows in fitting_rows(problem, names, where):
                    taken = sum(each[row] for each, row in zip(us, rows, strict=True))
                    assert (own <= taken).all(axis=1).any(), (seed, names, where)
                    covered += 1
    assert covered > 500
