import itertools
import random

import pytest

from planner.costs.cycles import Arc, critical_cycle
from planner.search.schedules.orders import best_orders
from planner.search.schedules.periods import best_schedule

PPO = [(0, 1, 0, 0), (0, 2, 0, 0), (0, 3, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (3, 4, 0, 0), (3, 5, 0, 0)]
PPO += [(4, 1, 1, 0), (1, 5, 0, 0), (2, 5, 0, 0)]
"""Generate, values, logprobs, scores, the critic's update, the actor's; weights come by one of two ways."""
NEXT = (5, 0, 1, 0)
LATER = [(5, 6, 0, 0), (6, 0, 2, 0)]


def drawn(seed):
    draw = random.Random(seed)
    if seed % 2:
        roles, waits = [0, 1, 2, 3, 1, 0], [*PPO, NEXT]
    else:
        roles, waits = [4, 1, 2, 3, 1, 0, 0], [*PPO, *LATER]
    homes = [draw.randrange(3) for _ in range(5)]
    named = list(dict.fromkeys(homes[role] for role in roles))
    return [draw.randrange(1, 30) for _ in roles], [named.index(homes[role]) for role in roles], waits


def arcs_of(durations, waits, orders):
    """Waits and the pools' sequences; a call of one period is of iteration period + ahead."""
    for source, target, lag, delay in waits:
        yield Arc(source, target, durations[source] + delay, lag)
    for order in orders.steps:
        for one, other in itertools.pairwise((*order, order[0])):
            wraps = int(other == order[0])
            yield Arc(one, other, durations[one], wraps + orders.ahead[other] - orders.ahead[one])


@pytest.mark.parametrize("interleaves", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_the_orders_have_the_least_period(seed, interleaves):
    durations, pools, waits = drawn(seed)
    orders = best_orders(durations, pools, waits, interleaves=interleaves)
    period = best_schedule(durations, pools, waits, interleaves=interleaves).period_us
    found = critical_cycle(len(durations), list(arcs_of(durations, waits, orders)))
    assert period - 1 < found[0] <= period == orders.schedule.period_us
    assert interleaves or not any(orders.ahead)


@pytest.mark.parametrize("seed", range(60))
def test_the_schedule_starts_calls_in_the_orders(seed):
    durations, pools, waits = drawn(seed)
    orders = best_orders(durations, pools, waits)
    period, starts = orders.schedule.period_us, orders.schedule.start_us
    assert min(starts) == 0
    for order in orders.steps:
        busy = [starts[step] + orders.ahead[step] * period for step in order]
        assert all(
            start + durations[step] <= after
            for step, start, after in zip(order, busy, (*busy[1:], busy[0] + period), strict=True)
        )
    for source, target, lag, delay in waits:
        assert starts[target] + lag * period >= starts[source] + durations[source] + delay


@pytest.mark.parametrize("seed", range(30))
def test_no_orders_of_the_same_period_have_less_ahead(seed):
    """All offsets of a smaller sum, tried one by one."""
    durations, pools, waits = drawn(seed)
    orders = best_orders(durations, pools, waits)
    for ahead in itertools.product(range(3), repeat=len(durations)):
        if sum(ahead) < sum(orders.ahead):
            moved = [(a, b, lag + ahead[a] - ahead[b], delay) for a, b, lag, delay in waits]
            limit = orders.schedule.period_us
            assert best_schedule(durations, pools, moved, interleaves=False, at_most_us=limit) is None


def test_calls_that_may_stand_anywhere_stand_in_program_order():
    durations, pools = [9, 1, 1, 1, 1], [0, 1, 1, 1, 0]
    waits = [(0, 1, 0, 0), (0, 2, 0, 0), (0, 3, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (3, 4, 0, 0), (4, 0, 1, 0)]
    assert best_orders(durations, pools, waits).steps == ((0, 4), (1, 2, 3))


def test_no_call_is_ahead_where_program_order_has_the_least_period():
    """Generation, the slowest preparation and the update are a circle of 15; the critic has time to spare."""
    durations, pools, waits = [8, 3, 6, 2, 1], [0, 1, 2, 1, 0], [(0, 1, 0, 0), (0, 2, 0, 0), (4, 0, 1, 0)]
    waits += [(1, 3, 0, 0), (2, 3, 0, 0), (1, 4, 0, 0), (2, 4, 0, 0), (3, 1, 1, 0)]
    orders = best_orders(durations, pools, waits)
    assert (orders.schedule.period_us, orders.steps[1], orders.ahead) == (15, (1, 3), (0,) * 5)


def test_nothing_is_ordered_where_a_circle_has_no_lag():
    assert best_orders([1, 1], [0, 1], [(0, 1, 0, 0), (1, 0, 0, 0)]) is None
