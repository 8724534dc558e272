"""Least periods of fixed plans against an integer program, and that against all orders tried one by one."""

import random
from itertools import combinations, product

import pytest

from planner.search.schedules.periods import best_schedule
from tests.planner.search.cyclic import Wait, least_period, period_of_edges

System = tuple[list[int], list[int | None], list[Wait]]


def random_system(seed: int, calls: int) -> System:
    """Durations, pools and waits in which no circle has a lag of 0."""
    draw = random.Random(seed)
    longest = draw.choice((5, 100, 10**7))
    durations = [draw.randint(0, longest) for _ in range(calls)]
    waits = [
        (one, other, 0, draw.choice((0, 0, longest // 3)))
        for one, other in combinations(range(calls), 2)
        if draw.random() < 0.35
    ]
    waits += [
        (other, one, draw.randint(1, 3), 0)
        for one, other in combinations(range(calls), 2)
        if draw.random() < 0.25
    ]
    pools = [draw.randint(0, 2) if draw.random() < 0.9 else None for _ in range(calls)]
    return durations, pools, waits


def agree_on_periods(seeds: range) -> None:
    for seed in seeds:
        system = random_system(seed, calls=3 + seed % 6)
        for interleaves in (True, False):
            expected = least_period(*system, interleaves=interleaves)
            found = best_schedule(*system, interleaves=interleaves)
            assert expected is not None
            assert found is not None
            assert found.period_us == max(1, expected), seed


def test_periods_are_those_of_an_integer_program() -> None:
    agree_on_periods(range(120))


@pytest.mark.slow
def test_many_periods_are_those_of_an_integer_program() -> None:
    agree_on_periods(range(120, 3000))


def pairs_of(pools: list[int | None]) -> list[tuple[int, int]]:
    """Calls that share a pool."""
    return [
        (one, other)
        for one, other in combinations(range(len(pools)), 2)
        if pools[one] == pools[other] is not None
    ]


FEW_PAIRS = [seed for seed in range(60) if 0 < len(pairs_of(random_system(seed, calls=4)[1])) <= 4][:30]
"""Systems whose orders can all be tried."""


@pytest.mark.parametrize("seed", FEW_PAIRS)
def test_the_integer_programs_are_those_of_all_orders_tried_one_by_one(seed: int) -> None:
    durations, pools, waits = random_system(seed, calls=4)
    pairs = pairs_of(pools)
    edges = [(one, other, lag, durations[one] + delay) for one, other, lag, delay in waits]
    loads = [sum(d for d, at in zip(durations, pools, strict=True) if at == pool) for pool in range(3)]
    for interleaves, orders in ((True, range(-2, 4)), (False, range(2))):
        periods = []
        for chosen in product(orders, repeat=len(pairs)):
            between = list(edges)
            for (one, other), order in zip(pairs, chosen, strict=True):
                between += [(one, other, order, durations[one]), (other, one, 1 - order, durations[other])]
            periods.append(period_of_edges(4, between))
        best = max(*loads, min(period for period in periods if period is not None))
        assert least_period(durations, pools, waits, interleaves=interleaves) == best


def test_enough_systems_have_few_pairs() -> None:
    assert len(FEW_PAIRS) == 30
