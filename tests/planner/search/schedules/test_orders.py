"""Orders of calls against the least period, tried one by one, and by hand."""

import itertools
import random
from collections.abc import Iterator

import pytest

from planner.costs.cycles import Arc, critical_cycle
from planner.search.schedules.orders import Orders, best_orders
from planner.search.schedules.periods import best_schedule

Wait = tuple[int, int, int, int]
"""Source, target, lag, delay."""
Case = tuple[list[int], list[int], list[Wait]]

PPO = [(0, 1, 0, 0), (0, 2, 0, 0), (0, 3, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (3, 4, 0, 0), (3, 5, 0, 0)]
PPO += [(4, 1, 1, 0), (1, 5, 0, 0), (2, 5, 0, 0)]
"""Generate, values, logprobs, scores, the critic's update, the actor's; weights come by one of two ways."""
NEXT = (5, 0, 1, 0)
LATER = [(5, 6, 0, 0), (6, 0, 2, 0)]


def drawn(seed: int) -> Case:
    """PPO on three pools at random, synchronous or with weights that come two iterations late."""
    draw = random.Random(seed)
    if seed % 2:
        roles, waits = [0, 1, 2, 3, 1, 0], [*PPO, NEXT]
    else:
        roles, waits = [4, 1, 2, 3, 1, 0, 0], [*PPO, *LATER]
    homes = [draw.randrange(3) for _ in range(5)]
    named = list(dict.fromkeys(homes[role] for role in roles))
    return [draw.randrange(1, 30) for _ in roles], [named.index(homes[role]) for role in roles], waits


def arcs_of(durations: list[int], waits: list[Wait], orders: Orders) -> Iterator[Arc]:
    """Waits and the pools' sequences; a call of one period is of iteration period + ahead."""
    for source, target, lag, delay in waits:
        yield Arc(source, target, durations[source] + delay, lag)
    for order in orders.calls:
        for one, other in itertools.pairwise((*order, order[0])):
            wraps = int(other == order[0])
            yield Arc(one, other, durations[one], wraps + orders.ahead[other] - orders.ahead[one])


def ordered(durations: list[int], pools: list[int], waits: list[Wait], *, interleaves: bool = True) -> Orders:
    orders = best_orders(durations, pools, waits, interleaves=interleaves)
    assert orders is not None
    return orders


@pytest.mark.parametrize("interleaves", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_the_orders_have_the_least_period(seed: int, interleaves: bool) -> None:
    durations, pools, waits = drawn(seed)
    orders = ordered(durations, pools, waits, interleaves=interleaves)
    period = best_schedule(durations, pools, waits, interleaves=interleaves).period_us
    circle = critical_cycle(len(durations), list(arcs_of(durations, waits, orders)))
    assert circle is not None
    assert period - 1 < circle[0] <= period == orders.schedule.period_us
    assert interleaves or not any(orders.ahead)


def test_a_longer_period_needs_nothing_ahead() -> None:
    """Two turns of 3 with a judge of 5 between take 6 if the second runs beside the next first, 11 if not."""
    case = [3, 5, 3], [0, 1, 0], [(0, 1, 0, 0), (1, 2, 0, 0), (2, 0, 2, 0)]
    for floor, ahead in ((1, True), (6, True), (11, False), (40, False)):
        orders = best_orders(*case, at_least_us=floor)
        assert orders is not None
        assert orders.schedule.period_us == max(6, floor)
        assert any(orders.ahead) is ahead


@pytest.mark.parametrize("seed", range(60))
def test_the_schedule_starts_calls_in_the_orders(seed: int) -> None:
    durations, pools, waits = drawn(seed)
    orders = ordered(durations, pools, waits)
    period, starts = orders.schedule.period_us, orders.schedule.start_us
    assert min(starts) == 0
    for order in orders.calls:
        busy = [starts[call] + orders.ahead[call] * period for call in order]
        assert all(
            start + durations[call] <= after
            for call, start, after in zip(order, busy, (*busy[1:], busy[0] + period), strict=True)
        )
    for source, target, lag, delay in waits:
        assert starts[target] + lag * period >= starts[source] + durations[source] + delay


AHEAD = [seed for seed in range(150) if any(ordered(*drawn(seed)).ahead)][:20]
"""Systems whose best orders have some call ahead."""


@pytest.mark.parametrize("seed", AHEAD)
def test_no_orders_of_the_same_period_have_less_ahead(seed: int) -> None:
    """All offsets of a smaller sum, tried one by one."""
    durations, pools, waits = drawn(seed)
    orders = ordered(durations, pools, waits)
    for ahead in itertools.product(range(3), repeat=len(durations)):
        if sum(ahead) < sum(orders.ahead):
            moved = [(a, b, lag + ahead[a] - ahead[b], delay) for a, b, lag, delay in waits]
            limit = orders.schedule.period_us
            assert best_schedule(durations, pools, moved, interleaves=False, at_most_us=limit) is None


def test_enough_systems_have_calls_ahead() -> None:
    assert len(AHEAD) == 20


def test_calls_that_may_stand_anywhere_stand_in_program_order() -> None:
    durations, pools = [9, 1, 1, 1, 1], [0, 1, 1, 1, 0]
    waits = [(0, 1, 0, 0), (0, 2, 0, 0), (0, 3, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (3, 4, 0, 0), (4, 0, 1, 0)]
    assert ordered(durations, pools, waits).calls == ((0, 4), (1, 2, 3))


def test_no_call_is_ahead_where_program_order_has_the_least_period() -> None:
    """Generation, the slowest preparation and the update are a circle of 15; the critic has time to spare."""
    durations, pools, waits = [8, 3, 6, 2, 1], [0, 1, 2, 1, 0], [(0, 1, 0, 0), (0, 2, 0, 0), (4, 0, 1, 0)]
    waits += [(1, 3, 0, 0), (2, 3, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (3, 1, 1, 0)]
    orders = ordered(durations, pools, waits)
    assert (orders.schedule.period_us, orders.calls[1], orders.ahead) == (15, (1, 3), (0,) * 5)


def test_nothing_is_ordered_where_a_circle_has_no_lag() -> None:
    assert best_orders([1, 1], [0, 1], [(0, 1, 0, 0), (1, 0, 0, 0)]) is None
