"""The best plans of the other placements."""

from collections.abc import Mapping

import numpy as np
import pytest

from planner.domain.placement import Placement
from planner.search.bounds.floors import NEVER, Floors, Pools, members
from planner.search.problem import Problem, Solution
from planner.search.solvers.rivals import best_others, rivals
from tests.planner.search.by_hand import pool, problem_of, takes

TOGETHER: Placement = (("A", "B", "C"),)
A_APART: Placement = (("A",), ("B", "C"))
B_APART: Placement = (("A", "C"), ("B",))
C_APART: Placement = (("A", "B"), ("C",))
ALL_APART: Placement = (("A",), ("B",), ("C",))


def side_by_side(devices: int = 3, **changes: object) -> Problem:
    """A takes 4, B 3 and C 2, all in one stage, each on one device.

    Together they take 9; with A apart 5, with B apart 6, with C apart 7; all apart 4.
    """
    options = {role: {1: [takes(us)]} for role, us in (("A", 4), ("B", 3), ("C", 2))}
    return problem_of([(role, 0) for role in options], options, devices=devices, **changes)


@pytest.mark.parametrize(
    ("limit_us", "expected"),
    [
        (9, {TOGETHER, A_APART, B_APART, C_APART, ALL_APART}),
        (8, {A_APART, B_APART, C_APART, ALL_APART}),
        (6, {A_APART, B_APART, ALL_APART}),
        (4, {ALL_APART}),
        (3, set()),
    ],
)
def test_rivals_are_the_placements_whose_pools_may_be_part_of_a_plan_within_the_limit(
    limit_us: int, expected: set[Placement]
) -> None:
    found = list(rivals(Floors.of(side_by_side()), limit_us))
    assert set(found) == expected
    assert len(found) == len(expected)


def test_placements_that_need_more_devices_than_there_are_are_no_rivals() -> None:
    found = set(rivals(Floors.of(side_by_side(devices=2)), 9))
    assert found == {TOGETHER, A_APART, B_APART, C_APART}
    assert set(rivals(Floors.of(side_by_side(devices=1)), 9)) == {TOGETHER}


def test_placements_that_may_not_be_are_no_rivals() -> None:
    floors = Floors.of(side_by_side(apart=(frozenset("AB"),)))
    assert set(rivals(floors, 9)) == {A_APART, B_APART, ALL_APART}


COSTS = {TOGETHER: 9, C_APART: 7, B_APART: 6, A_APART: 5, ALL_APART: 4}


def solution_of(placement: Placement, objective_us: int) -> Solution:
    """A solution of which only the placement and the objective are read."""
    pools = (pool(" ".join(roles), 1) for roles in placement)
    return Solution(pools=tuple(pools), objective_us=objective_us)


def others(
    count: int,
    *,
    quick: Mapping[Placement, int] | None = None,
    costs: Mapping[Placement, int] = COSTS,
    least_us: int = 4,
    at_most_us: int = NEVER,
) -> tuple[list[tuple[Placement, int]], list[Placement]]:
    """The best others with what they cost, best first, and what was asked for; all apart is the best plan."""
    floors, asked = Floors.of(side_by_side()), []

    def best_of(pools: Pools, own: Solution | None, within_us: int) -> Solution | None:
        sets = np.flatnonzero(pools.alive.any(axis=1)).tolist()
        placement = tuple(sorted(members(floors.problem, roles) for roles in sets))
        asked.append(placement)
        return solution_of(placement, costs[placement]) if costs[placement] <= within_us else own

    known = {placement: solution_of(placement, us) for placement, us in (quick or {}).items()}
    limits = {"least_us": least_us, "at_most_us": at_most_us, "count": count}
    found = best_others(floors, known, best_of, beside=ALL_APART, **limits)
    return [(each.placement, each.objective_us) for each in found], asked


def test_the_best_plans_of_other_placements_come_best_first() -> None:
    found, _ = others(3)
    assert found == [(A_APART, 5), (B_APART, 6), (C_APART, 7)]


def test_the_placement_of_the_plan_itself_is_no_other() -> None:
    found, asked = others(10, quick={ALL_APART: 4})
    assert ALL_APART not in dict(found)
    assert ALL_APART not in asked
    assert len(found) == 4


def test_where_none_are_wanted_none_are_asked_for() -> None:
    assert others(0) == ([], [])


def test_a_better_plan_takes_the_place_of_a_quick_one() -> None:
    found, _ = others(2, quick={A_APART: 8, B_APART: 6})
    assert found == [(A_APART, 5), (B_APART, 6)]


def test_placements_whose_floor_exceeds_the_last_of_the_quick_plans_are_not_searched() -> None:
    """With plans of 5 and 6 known, neither 7 nor 9 can be among the best two."""
    found, asked = others(2, quick={A_APART: 5, B_APART: 6})
    assert found == [(A_APART, 5), (B_APART, 6)]
    assert set(asked) == {A_APART, B_APART}


def test_where_enough_plans_cost_no_more_than_any_plan_nothing_is_searched() -> None:
    found, asked = others(2, quick={A_APART: 5, B_APART: 5}, least_us=5)
    assert found == [(A_APART, 5), (B_APART, 5)]
    assert asked == []


def test_plans_that_take_longer_than_wanted_are_none() -> None:
    found, asked = others(3, quick={C_APART: 7}, at_most_us=6)
    assert found == [(A_APART, 5), (B_APART, 6)]
    assert C_APART not in asked


def test_of_equals_the_names_of_the_roles_decide() -> None:
    found, _ = others(3, costs=dict.fromkeys(COSTS, 9))
    assert found == [(A_APART, 9), (C_APART, 9), (TOGETHER, 9)]
