"""Links of calls along cycles of waits."""

from itertools import product

import pytest

from planner.search.bounds.chains import Chain, Link, Order, _implies, chains_of
from planner.search.problem import Problem
from tests.planner.search.by_hand import Waits, problem_of, takes

DIAMOND = ((0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 0))
"""Calls 1 and 2 follow call 0, and call 3 follows both."""


def chain(*links: str) -> Chain:
    """Links written as digits: ``chain("0", "12")``."""
    return tuple(frozenset(map(int, link)) for link in links)


def flow(roles: str, waits: Waits, **changes: object) -> Problem:
    """One call after the other of roles named by letters; a dot is a call without devices."""
    names = sorted(set(roles) - {"."})
    calls = [(None if role == "." else role, 0) for role in roles]
    options = {role: {1: [takes(*[1] * roles.count(role))]} for role in names}
    return problem_of(calls, options, waits=waits, time_model="period", **changes)


def test_steps_that_follow_each_other_are_a_link_each() -> None:
    order = Order.of(flow("ABCD", [(0, 1, 0), (1, 2, 0), (2, 3, 0)]))
    assert order.chains(0, 3) == [chain("0", "1", "2", "3")]


def test_steps_side_by_side_are_one_link_or_either_of_them_is() -> None:
    order = Order.of(flow("ABCD", DIAMOND))
    assert order.between(0, 3) == {1, 2}
    assert set(order.inner_chains(0, 3)) == {chain("12"), chain("1"), chain("2")}


def test_a_step_that_all_others_come_before_or_after_splits_them() -> None:
    """Two diamonds, one after the other: nothing spans call 3."""
    second = [(source + 3, target + 3, lag) for source, target, lag in DIAMOND]
    found = Order.of(flow("ABCDEFG", [*DIAMOND, *second])).inner_chains(0, 6)
    sides = [("12", "1", "2"), ("45", "4", "5")]
    assert set(found) == {chain(one, "3", other) for one, other in product(*sides)}


def links(*names: str, lag: int = 1) -> tuple[frozenset[Link], int]:
    """A chain, in whatever order its links are given, and its lag."""
    return frozenset(chain(*names)), lag


def found_in(problem: Problem) -> set[tuple[frozenset[Link], int]]:
    return {(frozenset(found), lag) for found, lag in chains_of(problem)}


def test_a_chain_with_fewer_steps_of_each_link_is_implied() -> None:
    """The chain over both sides of the diamond lasts at least as long as those over either."""
    assert found_in(flow("ABCD", [*DIAMOND, (3, 0, 1)])) == {links("0", "12", "3")}


def test_a_chain_whose_link_spans_two_links_of_another_is_implied_unless_it_holds_more() -> None:
    """Calls 1 and 3 one after the other last at least as long as what one pool runs of both, and call 2 is
    beside them: 0, 13, 4 is implied, and 0, 123, 4 is not."""
    waits = [(0, 1, 0), (1, 3, 0), (0, 2, 0), (2, 4, 0), (3, 4, 0), (4, 0, 1)]
    assert found_in(flow("ABCDE", waits)) == {links("0", "1", "3", "4"), links("0", "123", "4")}


@pytest.mark.parametrize(
    ("other", "implied"),
    [
        (("02", "1", "3"), True),
        (("0", "1", "3"), True),
        (("012", "3"), True),
        (("02", "13"), True),
        (("0", "3"), True),
        (("0", "2", "3"), False),
        (("0", "1", "2"), False),
        (("01", "2"), False),
        (("0", "4"), False),
    ],
)
def test_links_are_implied_by_links_that_cover_them_and_no_other(
    other: tuple[str, ...], implied: bool
) -> None:
    """Of the links 02, 1 and 3: what one pool runs of both 0 and 2 may be all that the first link says."""
    assert _implies(chain("02", "1", "3"), chain(*other)) is implied


@pytest.mark.parametrize(("lags", "kept"), [((1, 2), 1), ((2, 2), 2)])
def test_the_same_chain_over_more_iterations_is_implied(lags: tuple[int, int], kept: int) -> None:
    waits = [(0, 1, 0), *((1, 0, lag) for lag in lags)]
    assert found_in(flow("AB", waits)) == {links("0", "1", lag=kept)}


def test_a_longer_chain_over_more_iterations_is_not() -> None:
    found = found_in(flow("ABC", [(0, 1, 0), (1, 2, 0), (1, 0, 1), (2, 0, 2)]))
    assert found == {links("0", "1"), links("0", "1", "2", lag=2)}


def test_links_of_one_role_are_put_together_as_its_pool_runs_them_all() -> None:
    assert found_in(flow("ABA", [(0, 1, 0), (1, 2, 0), (2, 0, 1)])) == {links("02", "1")}


def test_a_circle_of_one_role_is_no_chain_as_its_load_bounds_it() -> None:
    assert found_in(flow("AAB", [(0, 1, 0), (1, 0, 1), (1, 2, 0)])) == set()


@pytest.mark.parametrize(("service_us", "expected"), [(5, links("0", "1", "2")), (0, links("0", "2"))])
def test_a_step_without_devices_is_in_a_chain_where_it_takes_time(
    service_us: int, expected: tuple[frozenset[Link], int]
) -> None:
    waits = [(0, 1, 0), (1, 2, 0), (2, 0, 1)]
    assert found_in(flow("A.B", waits, service_us=service_us)) == {expected}


def test_pools_that_do_not_interleave_wait_for_their_own_last_call() -> None:
    """Two turns of A with a judge of B between; nothing but A's pool ties one iteration to the next."""
    waits = [(0, 1, 0), (1, 2, 0)]
    assert found_in(flow("ABA", waits)) == set()
    assert found_in(flow("ABA", waits, interleaves=False)) == {links("02", "1")}
