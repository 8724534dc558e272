"""Least periods against CP-SAT, against all orders tried one by one, and by hand."""

import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from ortools.sat.python import cp_model

from planner.search.schedules.periods import Schedule, best_schedule

Wait = tuple[int, int, int]
"""Source, target, lag."""
Timed = tuple[int, int, int, int]
"""And a delay."""
Roles = list[int | None]
Graph = Callable[[int], tuple[Roles, list[Wait]]]
Case = tuple[list[int], Roles, list[Timed]]


def ppo(staleness: int) -> tuple[Roles, list[Wait]]:
    """Roles of the calls and their waits: generate, values, logprobs, scores, advantages, two updates."""
    waits = [
        (0, 1, 0),
        (0, 2, 0),
        (0, 3, 0),
        (1, 4, 0),
        (2, 4, 0),
        (3, 4, 0),
        (4, 5, 0),
        (4, 6, 0),
        (5, 1, 1),
    ]
    if not staleness:
        return [0, 1, 2, 3, None, 1, 0], [*waits, (6, 0, 1)]
    transfer = [(6, 7, 0), (7, 8, 0), (8, 0, 1 + staleness)]
    return [4, 1, 2, 3, None, 1, 0, 0, 4], [*waits, *transfer]


def two_turns(staleness: int) -> tuple[Roles, list[Wait]]:
    """A rollout of two turns with a judge between them: generate, judge, generate, reference, update."""
    waits = [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 0)]
    if not staleness:
        return [0, 1, 0, 2, 0], [*waits, (4, 0, 1), (4, 2, 1)]
    transfer = [(4, 5, 0), (5, 6, 0), (6, 0, 1 + staleness), (6, 2, 1 + staleness)]
    return [3, 1, 3, 2, 0, 0, 3], [*waits, *transfer]


def drawn(seed: int, graph: Graph, staleness: int) -> Case:
    """Durations, pools and waits with delays, drawn at random."""
    draw = random.Random(f"{seed} {graph.__name__} {staleness}")
    roles, waits = graph(staleness)
    durations = [0 if role is None else draw.randrange(1, 30) for role in roles]
    homes = [draw.randrange(4) for _ in range(5)]
    pools = [None if role is None else homes[role] for role in roles]
    delay = draw.choice((0, 0, 5))
    return durations, pools, [(*wait, draw.randrange(delay + 1)) for wait in waits]


def least_period(durations: Sequence[int], pools: Roles, waits: Sequence[Timed], *, window: int) -> int:
    """By CP-SAT: a whole number of periods between any two calls of a pool, in a window."""
    model = cp_model.CpModel()
    longest = sum(durations) + sum(wait[3] for wait in waits)
    period = model.new_int_var(1, longest, "period")
    starts = [model.new_int_var(0, (window + 2) * longest, f"start{call}") for call in range(len(durations))]
    for source, target, lag, delay in waits:
        model.add(starts[target] + lag * period >= starts[source] + durations[source] + delay)
    for call, pool in enumerate(pools):
        if pool is not None:
            model.add(period >= durations[call])
    for a, b in itertools.combinations(range(len(durations)), 2):
        if pools[a] is not None and pools[a] == pools[b]:
            ways = []
            for q in range(-window, window + 1):
                way = model.new_bool_var(f"{a} {b} {q}")
                model.add(starts[b] + q * period >= starts[a] + durations[a]).only_enforce_if(way)
                model.add(starts[b] + q * period + durations[b] <= starts[a] + period).only_enforce_if(way)
                ways.append(way)
            model.add_exactly_one(ways)
    model.minimize(period)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return solver.value(period)


def assert_valid(schedule: Schedule, durations: Sequence[int], pools: Roles, waits: Sequence[Timed]) -> None:
    period, starts = schedule.period_us, schedule.start_us
    for source, target, lag, delay in waits:
        assert starts[target] + lag * period >= starts[source] + durations[source] + delay
    for pool in set(pools) - {None}:
        busy = sorted(
            (starts[call] % period, durations[call]) for call, home in enumerate(pools) if home == pool
        )
        busy.append((busy[0][0] + period, 0))
        assert all(start + lasts <= after for (start, lasts), (after, _) in itertools.pairwise(busy))


def compare(graph: Graph, staleness: int, seeds: range) -> None:
    for seed in seeds:
        case = drawn(seed, graph, staleness)
        schedule = best_schedule(*case)
        assert schedule is not None
        assert_valid(schedule, *case)
        assert schedule.period_us == least_period(*case, window=staleness + 2), seed


@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("graph", [ppo, two_turns])
def test_the_period_is_the_least_that_cp_sat_finds(graph: Graph, staleness: int) -> None:
    compare(graph, staleness, range(40))


@pytest.mark.slow
@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("graph", [ppo, two_turns])
def test_many_periods_are_the_least_that_cp_sat_finds(graph: Graph, staleness: int) -> None:
    compare(graph, staleness, range(40, 300))


def holds(
    period: int,
    durations: Sequence[int],
    waits: Sequence[Timed],
    orders: Sequence[Sequence[int]],
    ahead: Sequence[int],
) -> bool:
    """Whether given orders have that period: no circle of waits may be longer than it allows."""
    arcs = [(source, target, durations[source] + delay, lag) for source, target, lag, delay in waits]
    for order in orders:
        for a, b in itertools.pairwise(order):
            arcs.append((a, b, durations[a], ahead[b] - ahead[a]))
        arcs.append((order[-1], order[0], durations[order[-1]], 1 + ahead[order[0]] - ahead[order[-1]]))
    starts = [0] * len(durations)
    for _ in range(len(starts) + 1):
        before = starts.copy()
        for source, target, length, lag in arcs:
            starts[target] = max(starts[target], starts[source] + length - lag * period)
        if starts == before:
            return True
    return False


@pytest.mark.parametrize("homes", [(0, 1, 0, 0, 1), (0, 1, 0, 1, 0), (0, 1, 0, 2, 2), (0, 0, 0, 1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_the_period_is_the_least_of_all_orders_and_offsets(seed: int, homes: tuple[int, ...]) -> None:
    draw = random.Random(seed)
    durations = [draw.randrange(1, 9) for _ in homes]
    waits = [(0, 1, 0, 0), (1, 2, 0, 0), (2, 3, 0, 0), (3, 4, 0, 0), (4, 0, 2, 0), (4, 2, 1 + seed % 2, 0)]
    members = [[call for call, home in enumerate(homes) if home == pool] for pool in sorted(set(homes))]
    orders = list(itertools.product(*(itertools.permutations(pool) for pool in members)))
    least = sum(durations)
    for ahead in itertools.product(range(3), repeat=len(homes)):
        for order in orders:
            while holds(least - 1, durations, waits, order, ahead):
                least -= 1
    assert best_schedule(durations, homes, waits).period_us == least


def test_one_pool_is_never_idle() -> None:
    roles, waits = ppo(0)
    durations = [5, 3, 2, 1, 0, 4, 6]
    pools = [None if role is None else 0 for role in roles]
    schedule = best_schedule(durations, pools, [(*wait, 0) for wait in waits])
    assert schedule.period_us == sum(durations)


def test_an_update_on_another_pool_overlaps_the_next_generation() -> None:
    """Stages of 8, 2 and 8 become a period of 8 + 2 + 1."""
    roles, waits = ppo(0)
    pools = [None if role is None else int(role == 1) for role in roles]
    schedule = best_schedule([8, 1, 1, 1, 0, 8, 1], pools, [(*wait, 0) for wait in waits])
    assert schedule.period_us == 11


def test_calls_that_share_a_pool_fragment_the_circle() -> None:
    """The busiest pool has 4 and two iterations have 8 for a circle of 8, yet the least period is 6.

    Turns of 1 and 3 on one pool have a judge of 2 between them and an update of 2 after. In a period of 5
    the second turn, not before 3, would run into a first turn; after that the update would end past 10.
    """
    waits = [(0, 1, 0, 0), (1, 2, 0, 0), (2, 3, 0, 0), (3, 0, 2, 0)]
    assert best_schedule([1, 2, 3, 2], [0, 1, 0, 2], waits).period_us == 6


def test_without_interleaving_a_pool_ends_one_iteration_before_the_next() -> None:
    """Two turns of 3 with a judge of 5 between: the next iteration's first turn may fill the gap or not."""
    waits = [(0, 1, 0, 0), (1, 2, 0, 0), (2, 0, 2, 0)]
    assert best_schedule([3, 5, 3], [0, 1, 0], waits).period_us == 6
    assert best_schedule([3, 5, 3], [0, 1, 0], waits, interleaves=False).period_us == 11


@pytest.mark.parametrize("seed", range(100))
def test_interleaving_never_lengthens_the_period(seed: int) -> None:
    case = drawn(seed, two_turns, 1)
    plain = best_schedule(*case, interleaves=False)
    assert_valid(plain, *case)
    assert plain.period_us >= best_schedule(*case).period_us


def test_a_limit_below_the_period_leaves_no_schedule() -> None:
    case = drawn(3, ppo, 1)
    period = best_schedule(*case).period_us
    assert best_schedule(*case, at_most_us=period).period_us == period
    assert best_schedule(*case, at_most_us=period - 1) is None


@pytest.mark.parametrize("interleaves", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_exists_for_every_longer_period(seed: int, interleaves: bool) -> None:
    case = drawn(seed, two_turns, seed % 3)
    least = best_schedule(*case, interleaves=interleaves).period_us
    for floor in (least - 1, least, least + 1, 3 * least, 20 * least):
        schedule = best_schedule(*case, interleaves=interleaves, at_least_us=floor)
        assert schedule.period_us == max(least, floor)
        assert_valid(schedule, *case)
    assert best_schedule(*case, interleaves=interleaves, at_least_us=99, at_most_us=98) is None


def test_a_circle_within_one_iteration_has_no_schedule() -> None:
    assert best_schedule([1, 1], [None, None], [(0, 1, 0, 0), (1, 0, 0, 0)]) is None


@pytest.mark.parametrize("staleness", [1, 2])
@pytest.mark.parametrize("seed", range(50))
def test_more_staleness_never_lengthens_the_period(seed, staleness):
    durations, pools, waits = drawn(seed, ppo, 1)
    more = [
        (source, target, staleness + 1 if lag == 2 else lag, delay) for source, target, lag, delay in waits
    ]
    assert best_schedule(durations, pools, more).period_us <= best_schedule(durations, pools, waits).period_us


def test_parts_that_nothing_connects_share_a_pool() -> None:
    assert best_schedule([4, 3, 2], [0, 0, 0], []).period_us == 9
    assert best_schedule([4, 3, 2], [0, 0, 1], [(0, 2, 0, 0)]).period_us == 7


@pytest.mark.parametrize("seed", range(30))
def test_waits_that_lie_on_no_circle_hold_and_cost_nothing(seed: int) -> None:
    """As some of the waits for earlier iterations are left out."""
    durations, pools, waits = drawn(seed, ppo, seed % 3)
    draw = random.Random(seed)
    fewer = [wait for wait in waits if not wait[2] or draw.random() < 0.5]
    schedule = best_schedule(durations, pools, fewer)
    assert_valid(schedule, durations, pools, fewer)
    assert schedule.period_us <= best_schedule(durations, pools, waits).period_us
    assert schedule.period_us == least_period(durations, pools, fewer, window=4)
