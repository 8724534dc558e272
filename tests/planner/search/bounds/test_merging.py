"""Plans made by adding one pool at a time."""

import numpy as np
import pytest

from planner.search.bounds.floors import Floors
from planner.search.bounds.front import Front
from planner.search.bounds.fronts import Fronts
from planner.search.bounds.merging import Keep, Partials, merged
from planner.search.problem import PoolChoice, Problem
from tests.planner.search.by_hand import pool, problem_of, takes

FLOORS = Floors.of(
    problem_of(
        [("A", 0), ("B", 1)],
        {"A": {1: [takes(8)], 2: [takes(5)]}, "B": {1: [takes(6)], 2: [takes(4)]}},
        devices=3,
    )
)
"""Two roles, each on one or two of three devices."""
SLOTS = FLOORS.resources.slots


def fronts_of(floors: Floors) -> dict[int, Front]:
    """All combinations of all sets."""
    made = Fronts(floors=floors, compared=floors.features)
    everywhere = np.ones(len(floors.resources.slots), dtype=np.bool_)
    return {roles: made.of(roles, everywhere) for roles in range(1, 1 << len(floors.problem.roles))}


def everything(placed: int, partials: Partials) -> Partials:
    return partials


def plans(keep: Keep) -> dict[tuple[PoolChoice, ...], tuple[list[int], list[int]]]:
    """By their pools, what complete plans take of the stages, and the devices that they leave."""
    fronts = fronts_of(FLOORS)
    found = merged(FLOORS, fronts, keep)
    listed = [tuple(found.choices(plan, fronts, SLOTS)) for plan in range(len(found))]
    assert len(set(listed)) == len(listed), "every plan is met once"
    return dict(zip(listed, zip(found.us.tolist(), found.left.tolist(), strict=True), strict=True))


def test_every_plan_that_the_devices_allow_is_met_once() -> None:
    assert plans(everything) == {
        (pool("A B", 1),): ([8, 6], [2]),
        (pool("A B", 2),): ([5, 4], [1]),
        (pool("A", 1), pool("B", 1)): ([8, 6], [1]),
        (pool("A", 1), pool("B", 2)): ([8, 4], [0]),
        (pool("A", 2), pool("B", 1)): ([5, 6], [0]),
    }


def test_what_is_not_kept_does_not_go_on() -> None:
    """Of the plans that have placed A alone only those with two devices left."""

    def keep(placed: int, partials: Partials) -> Partials:
        return partials.take(np.flatnonzero(partials.left[:, 0] == 2)) if placed == 1 else partials

    assert set(plans(keep)) == {
        *((pool("A B", devices),) for devices in (1, 2)),
        *((pool("A", 1), pool("B", devices)) for devices in (1, 2)),
    }


def test_where_nothing_is_kept_there_is_no_plan() -> None:
    assert plans(lambda placed, partials: partials.take(np.zeros(0, dtype=np.int64))) == {}


def test_plans_made_in_small_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.search.bounds.merging.MOST_AT_ONCE", 1)
    assert len(plans(everything)) == 5


def test_a_pool_lasts_as_long_as_the_sum_of_its_roles_and_a_plan_as_its_slowest_pool() -> None:
    problem: Problem = problem_of([("A", 0), ("B", 0)], {"A": {1: [takes(8)]}, "B": {1: [takes(6)]}})
    floors = Floors.of(problem)
    found = merged(floors, fronts_of(floors), everything)
    assert sorted(found.us[:, 0].tolist()) == [8, 8 + 6]
