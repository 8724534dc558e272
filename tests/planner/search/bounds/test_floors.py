"""Lower bounds of roles and pools."""

import random
from dataclasses import replace

import numpy as np
import pytest

from planner.search.bounds.floors import NEVER, Floors, Pools, bit_set
from planner.search.problem import Budget, Problem
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers.moves import Moves
from tests.planner.search.by_hand import Option, problem_of, takes
from tests.planner.search.random_problems import random_problem

A, B, AB = 1, 2, 3
"""Bit sets of two roles."""


def one_after_the_other(**changes: object) -> Problem:
    """A takes 8 on one device and 5 on two, then B takes 6 on one and 2 on three; there are four devices."""
    options = {"A": {1: [takes(8)], 2: [takes(5)]}, "B": {1: [takes(6)], 3: [takes(2)]}}
    return problem_of([("A", 0), ("B", 1)], options, **changes)


def floors_of_pools(floors: Floors, pools: Pools) -> dict[tuple[int, int], int]:
    """By set and devices of its slot, what a plan with the pool costs at least."""
    return {
        (roles, slot.devices): int(pools.floor_us[roles, at])
        for roles in range(len(pools.alive))
        for at, slot in enumerate(floors.resources.slots)
        if pools.alive[roles, at]
    }


@pytest.mark.parametrize(
    ("left", "expected"), [(4, [5, 2]), (3, [5, 2]), (2, [5, 6]), (1, [8, 6]), (0, [NEVER, NEVER])]
)
def test_a_missing_role_takes_the_fastest_slot_of_what_is_left(left: int, expected: list[int]) -> None:
    floors = Floors.of(one_after_the_other())
    assert floors.of_missing(0, np.array([[left]])).tolist() == [expected]


def test_a_placed_role_is_not_missing() -> None:
    floors = Floors.of(one_after_the_other())
    assert floors.of_missing(A, np.array([[1]])).tolist() == [[0, 6]]
    assert floors.of_missing(AB, np.array([[0]])).tolist() == [[0, 0]]


def test_more_devices_are_never_slower_as_fewer_may_be_taken() -> None:
    """A takes 5 on one device and 9 on two."""
    floors = Floors.of(problem_of([("A", 0)], {"A": {1: [takes(5)], 2: [takes(9)]}}))
    assert floors.of_missing(0, np.array([[1], [2], [4]])).tolist() == [[5], [5], [5]]


def test_roles_without_a_common_pool_take_the_greatest_of_their_floors() -> None:
    """Both in one stage: the plan takes at least as long as the slower of the two, and not their sum."""
    problem = problem_of([("A", 0), ("B", 0)], {"A": {1: [takes(8)]}, "B": {1: [takes(6)]}})
    assert Floors.of(problem).of_missing(0, np.array([[4]])).tolist() == [[8]]


def test_what_cannot_be_paid_cannot_be_taken() -> None:
    """At 3 a device a budget of 7 buys two of the four."""
    floors = Floors.of(one_after_the_other(budget=Budget(price={"a": 3}, limit=7)))
    assert floors.of_missing(0, np.array([[4, 7]])).tolist() == [[5, 6]]
    assert floors.root_us == 11


def test_no_plan_costs_less_than_the_root_nor_more_than_the_ceiling() -> None:
    floors = Floors.of(one_after_the_other())
    assert floors.root_us == 5 + 2
    assert floors.ceiling_us == 8 + 6


def test_a_plan_with_a_pool_takes_what_the_pool_and_the_others_beside_it_take() -> None:
    """A on two devices leaves two, on which B takes 6; both on one device take 8 + 6."""
    floors = Floors.of(one_after_the_other())
    assert floors_of_pools(floors, floors.pools) == {
        **{(A, 1): 8 + 2, (A, 2): 5 + 6, (B, 1): 5 + 6, (B, 3): 8 + 2},
        (AB, 1): 8 + 6,
    }
    assert floors.pools.least_us == 10


def test_the_least_of_all_pools_may_exceed_the_root() -> None:
    floors = Floors.of(one_after_the_other())
    assert floors.root_us < floors.pools.least_us


@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        (takes(8, persistent=60), takes(6, persistent=40), True),
        (takes(8, persistent=60), takes(6, persistent=41), False),
        (takes(8, persistent=30, transient=40), takes(6, persistent=30, transient=20), True),
        (takes(8, persistent=30, transient=40), takes(6, persistent=31, transient=20), False),
        (takes(8, host=30), takes(6, host=20), True),
        (takes(8, host=31), takes(6, host=20), False),
    ],
)
def test_a_set_whose_least_bytes_exceed_a_device_is_no_pool(one: Option, other: Option, fits: bool) -> None:
    """Persistent and host bytes add up, of transient ones the greatest counts."""
    problem = problem_of([("A", 0), ("B", 1)], {"A": {1: [one]}, "B": {1: [other]}}, host_memory={"a": 50})
    assert bool(Floors.of(problem).pools.alive[AB, 0]) is fits


def test_roles_that_must_lie_apart_or_together_form_no_other_pools() -> None:
    apart = Floors.of(one_after_the_other(apart=(frozenset("AB"),))).pools
    assert not apart.alive[AB].any()
    assert apart.alive[A].any()
    together = Floors.of(one_after_the_other(together=(frozenset("AB"),))).pools
    assert together.alive[AB].any()
    assert not together.alive[[A, B]].any()


def three_side_by_side(**changes: object) -> Floors:
    """A takes 4, B 3 and C 3, all in one stage, on two devices."""
    options = {"A": {1: [takes(4)]}, "B": {1: [takes(3)]}, "C": {1: [takes(3)]}}
    return Floors.of(problem_of([(role, 0) for role in options], options, devices=2, **changes))


def test_of_a_placement_each_pool_takes_its_sum_beside_the_others() -> None:
    """A's pool alone says 4, and beside the pool of B and C 6."""
    floors = three_side_by_side()
    assert floors_of_pools(floors, floors.pools)[1, 1] == 4
    pools = Pools.of_placement(floors, (("A",), ("B", "C")))
    assert floors_of_pools(floors, pools) == {(1, 1): 6, (6, 1): 6}
    assert pools.least_us == 6
    assert Pools.of_placement(floors, (("A", "B"), ("C",))).least_us == 7


def test_a_placement_with_an_impossible_pool_has_no_plan() -> None:
    floors = three_side_by_side(apart=(frozenset("BC"),))
    assert Pools.of_placement(floors, (("A",), ("B", "C"))).least_us >= NEVER


def test_three_pools_need_a_device_each() -> None:
    """On two devices no plan has A, B and C apart, which the floors of a placement do not see."""
    floors = three_side_by_side()
    apart = Pools.of_placement(floors, (("A",), ("B",), ("C",)))
    assert apart.least_us == 4
    assert apart.fewest_devices(floors, 4)[1] == 3


@pytest.mark.parametrize(("limit_us", "fewest", "with_a_on_one"), [(9, NEVER, NEVER), (10, 4, 4), (14, 1, 2)])
def test_the_fewest_devices_are_those_of_the_smallest_pools_within_a_limit(
    limit_us: int, fewest: int, with_a_on_one: int
) -> None:
    """Within 10 A is alone on one device and B on three; within 14 both are on one, or each on one."""
    floors = Floors.of(one_after_the_other())
    with_each, at_all = floors.pools.fewest_devices(floors, limit_us)
    assert (at_all, int(with_each[A, 0])) == (fewest, with_a_on_one)


@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_no_plan_undercuts_the_floors_of_its_pools_and_of_its_placement(time_model: str) -> None:
    held = 0
    for seed in range(60):
        problem = replace(random_problem(seed, time_model=time_model), spreads=True)
        pools = all(problem.options.values()) and Moves(problem=problem, random=random.Random(seed)).start()
        if not pools:
            continue
        floors, solution = Floors.of(problem), evaluate(problem, pools)
        of_placement = Pools.of_placement(floors, solution.placement)
        devices = sum(pool.slot.devices for pool in pools)
        fewest, at_all = floors.pools.fewest_devices(floors, solution.objective_us)
        assert floors.root_us <= floors.pools.least_us <= of_placement.least_us <= solution.objective_us
        assert at_all <= devices
        for pool in pools:
            at = bit_set(problem, pool.roles), floors.resources.slots.index(pool.slot)
            assert floors.pools.alive[at]
            assert of_placement.alive[at]
            assert floors.pools.floor_us[at] <= of_placement.floor_us[at] <= solution.objective_us
            assert fewest[at] <= devices
        held += 1
    assert held >= 30
