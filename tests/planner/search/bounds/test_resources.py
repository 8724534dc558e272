"""What pools take away from each other."""

import numpy as np
import pytest

from planner.search.bounds.resources import Resources
from planner.search.problem import Budget, Problem
from tests.planner.search.by_hand import problem_of, slot, takes

PRICES = {"a": 3, "b": 1}


def two_node_pools(**changes: object) -> Problem:
    slots = {("b", 1): [takes(1)], ("a", 2): [takes(1)], ("a", 1): [takes(1)]}
    return problem_of([("A", 0)], {"A": slots}, devices={"a": 2, "b": 4}, **changes)


def test_slots_lie_in_the_order_of_the_node_pools_and_rise() -> None:
    resources = Resources.of(two_node_pools())
    assert resources.slots == (slot(1), slot(2), slot(("b", 1)))
    assert resources.taken.tolist() == [[1, 0], [2, 0], [0, 1]]
    assert resources.there.tolist() == [2, 4]


def test_a_budget_is_one_resource_more() -> None:
    resources = Resources.of(two_node_pools(budget=Budget(price=PRICES, limit=7)))
    assert resources.taken.tolist() == [[1, 0, 3], [2, 0, 6], [0, 1, 1]]
    assert resources.there.tolist() == [2, 4, 7]


def test_without_a_budget_all_devices_that_are_left_can_be_had() -> None:
    assert Resources.of(two_node_pools()).affordable(np.array([[2, 3]])).tolist() == [[2, 3]]


@pytest.mark.parametrize(("left", "devices"), [((2, 4, 7), (2, 4)), ((2, 4, 5), (1, 4)), ((2, 1, 2), (0, 1))])
def test_with_a_budget_no_more_than_is_left_to_pay(left: tuple[int, ...], devices: tuple[int, ...]) -> None:
    resources = Resources.of(two_node_pools(budget=Budget(price=PRICES, limit=7)))
    assert tuple(resources.affordable(np.array(left))) == devices


def test_devices_without_a_price_are_free() -> None:
    resources = Resources.of(two_node_pools(budget=Budget(price={"a": 3, "b": 0}, limit=3)))
    assert resources.affordable(np.array([2, 4, 2])).tolist() == [0, 4]


def test_slots_fit_together_until_devices_or_budget_end() -> None:
    resources = Resources.of(two_node_pools(budget=Budget(price=PRICES, limit=7)))
    assert resources.fit([slot(1), slot(1)])
    assert not resources.fit([slot(1), slot(2)])
    assert resources.fit([slot(2), slot(("b", 1))])
    assert not resources.fit([slot(2), slot(("b", 1)), slot(("b", 1))])
