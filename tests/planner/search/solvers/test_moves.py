"""Random changes of a plan."""

import random
from collections import Counter

import pytest

from planner.search.problem import Budget, Problem
from planner.search.solvers.moves import Moves
from tests.planner.search.by_hand import Option, assert_sound, pool, problem_of, slot, takes
from tests.planner.search.random_problems import random_problem


def moves_of(problem: Problem, seed: int = 0) -> Moves:
    return Moves(problem=problem, random=random.Random(seed))


def two_roles(*options: Option, **changes: object) -> Moves:
    """Options of A beside one of B, on one device or on two."""
    calls = [("A", 0), ("B", 0)]
    beside = [takes(3, persistent=40, transient=20)]
    return moves_of(
        problem_of(calls, {"A": {1: options, 2: options}, "B": {1: beside, 2: beside}}, **changes)
    )


def test_every_change_of_a_sound_plan_is_a_sound_plan() -> None:
    made = refused = 0
    for seed in range(25):
        problem = random_problem(seed)
        moves = moves_of(problem, seed)
        pools = all(problem.options.values()) and moves.start()
        if not pools:
            continue
        assert_sound(problem, pools)
        for _ in range(40):
            changed = moves.change(pools)
            if changed is None:
                refused += 1
            else:
                assert_sound(problem, changed)
                pools, made = changed, made + 1
    assert made >= 200
    assert refused >= 20


def test_changes_reach_every_placement_slot_and_option() -> None:
    """Together on one, two or any of both options, or apart: all plans of two roles on three devices."""
    moves = two_roles(takes(5), takes(8), devices=3)
    pools, seen = moves.start(), Counter()
    for _ in range(2000):
        pools = moves.change(pools) or pools
        seen[frozenset((each.roles, each.slot.devices, each.rows) for each in pools)] += 1
    together = {frozenset({(("A", "B"), n, (row, 0))}) for n in (1, 2) for row in (0, 1)}
    apart = {
        frozenset({(("A",), n, (row,)), (("B",), m, (0,))})
        for n, m in ((1, 1), (1, 2), (2, 1))
        for row in (0, 1)
    }
    assert set(seen) == together | apart


def test_roles_start_with_their_fastest_options() -> None:
    assert two_roles(takes(8), takes(5)).filled(("A", "B"), slot(1)) == pool("A B", 1, 1, 0)


def test_while_they_do_not_fit_a_role_goes_to_a_smaller_option() -> None:
    """Beside 40 + 20 bytes of B the options of 60 and 50 do not fit, and that of 40 does."""
    moves = two_roles(takes(5, persistent=60), takes(6, persistent=50), takes(7, persistent=40))
    assert moves.filled(("A", "B"), slot(1)) == pool("A B", 1, 2, 0)


def test_what_never_fits_is_not_filled() -> None:
    assert two_roles(takes(5, persistent=60)).filled(("A", "B"), slot(1)) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([takes(5, persistent=60), takes(7, persistent=40), takes(6, persistent=50)], [2, 1]),
        ([takes(5, persistent=60), takes(6, persistent=70)], []),
        ([takes(5, persistent=50, transient=40), takes(6, persistent=50, transient=20)], [1]),
        ([takes(5, persistent=60, transient=20), takes(6, persistent=60, transient=10)], [1]),
    ],
    ids=["less excess, fastest first", "none is smaller", "a smaller peak", "a smaller peak below B's"],
)
def test_smaller_options_are_those_that_bring_a_pool_nearer_to_its_device(
    options: list[Option], expected: list[int]
) -> None:
    moves = two_roles(*options)
    tables = [moves.sizes_of(role, slot(1)) for role in ("A", "B")]
    assert moves.smaller(tables, [0, 0], 0, slot(1)).tolist() == expected


@pytest.mark.parametrize(
    ("option", "holds"),
    [(takes(5, persistent=40, transient=20), True), (takes(5, persistent=41), False)],
)
def test_a_pool_holds_the_sum_of_what_stays_and_the_greatest_of_what_comes_and_goes(
    option: Option, holds: bool
) -> None:
    assert two_roles(option).holds(pool("A B", 1)) is holds


def test_pools_take_no_more_than_the_devices_and_the_budget() -> None:
    moves = two_roles(takes(5), devices=3, budget=Budget(price={"a": 2}, limit=5))
    assert moves.affords((), slot(2))
    assert moves.affords((pool("A", 1),), slot(1))
    assert not moves.affords((pool("A", 1),), slot(2)), "6 for a budget of 5"
    assert not two_roles(takes(5), devices=2).affords((pool("A", 1),), slot(2))


def test_where_nothing_fits_there_is_no_start() -> None:
    assert two_roles(takes(5, persistent=90), devices=1).start() is None


def test_a_start_is_found_where_only_all_roles_in_one_pool_fit() -> None:
    assert two_roles(takes(5), devices=1).start() == (pool("A B", 1),)
