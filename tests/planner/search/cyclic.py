"""The least period of a cyclic schedule as a mixed-integer program, made to check those of the planner.

With x = 1 / P and t = start / P the conditions are linear: a wait of lag l asks
t_b + l >= t_a + (d_a + delay) x, and two calls of one pool keep clear of each other modulo 1 when some whole
q has t_b + q >= t_a + d_a x and t_a + 1 - q >= t_b + d_b x. The greatest x is found by HiGHS in floats. Its q
are then fixed, and the least period under them follows exactly, in whole numbers.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product

import networkx as nx
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

Wait = tuple[int, int, int, int]
"""Source, target, lag in iterations, and microseconds between the two."""


def least_period(
    durations: Sequence[int], pools: Sequence[int | None], waits: Sequence[Wait], *, interleaves: bool = True
) -> int | None:
    """The least whole period; none where the waits contradict each other.

    Parameters
    ----------
    pools
        Of each call; calls without one keep clear of nothing.
    interleaves
        Whether a pool may run calls of different iterations in one period.
    """
    bound = lower_bound(durations, pools, waits)
    pairs = [
        (one, other)
        for one, other in combinations(range(len(durations)), 2)
        if pools[one] is not None and pools[one] == pools[other]
    ]
    asap = _orders_of(_earliest_starts(durations, waits, bound), pairs, bound)
    if (interleaves or set(asap) <= {0, 1}) and _period_under(asap, durations, waits, pairs) == bound:
        return bound
    orders = _best_orders(durations, waits, pairs, max(1, bound), interleaves=interleaves)
    period = None if orders is None else _period_under(orders, durations, waits, pairs)
    return None if period is None else max(bound, period)


def _period_under(
    orders: Sequence[int], durations: Sequence[int], waits: Sequence[Wait], pairs: Sequence[tuple[int, int]]
) -> int | None:
    edges = [(one, other, lag, durations[one] + delay) for one, other, lag, delay in waits]
    for (one, other), order in zip(pairs, orders, strict=True):
        edges += [(one, other, order, durations[one]), (other, one, 1 - order, durations[other])]
    return period_of_edges(len(durations), edges)


def _earliest_starts(durations: Sequence[int], waits: Sequence[Wait], period: int) -> list[int]:
    """When each call may start if pools were shared freely."""
    starts = [0] * len(durations)
    for _ in durations:
        for one, other, lag, delay in waits:
            starts[other] = max(starts[other], starts[one] + durations[one] + delay - lag * period)
    return starts


def _orders_of(starts: Sequence[int], pairs: Sequence[tuple[int, int]], period: int) -> list[int]:
    """q of each pair if calls follow each other as they start modulo the period."""
    return [math.ceil((starts[one] - starts[other]) / max(1, period)) for one, other in pairs]


def lower_bound(durations: Sequence[int], pools: Sequence[int | None], waits: Sequence[Wait]) -> int:
    """The busiest pool's load and the slowest cycle of waits, whichever is longer."""
    loads = {pool: 0 for pool in pools if pool is not None}
    for duration, pool in zip(durations, pools, strict=True):
        if pool is not None:
            loads[pool] += duration
    cycles = [
        -(-(sum(durations[call] for call in calls) + delay) // lag)
        for calls, lag, delay in cycles_of(len(durations), tuple(waits))
    ]
    return max([0, *loads.values(), *cycles])


@cache
def cycles_of(calls: int, waits: tuple[Wait, ...]) -> list[tuple[list[int], int, int]]:
    """Calls, lags and delays of each simple cycle of the waits."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(calls))
    for source, target, lag, delay in waits:
        graph.add_edge(source, target, lag=lag, delay=delay)
    cycles = []
    for cycle in nx.simple_cycles(nx.DiGraph(graph)):
        parallel = [
            graph[one][other].values() for one, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        ]
        for edges in product(*parallel):
            cycles.append((cycle, sum(each["lag"] for each in edges), sum(each["delay"] for each in edges)))
    return cycles


def _best_orders(
    durations: Sequence[int],
    waits: Sequence[Wait],
    pairs: Sequence[tuple[int, int]],
    scale: int,
    *,
    interleaves: bool,
) -> list[int] | None:
    """q of each pair in a schedule of the least period."""
    calls, widths = len(durations), [duration / scale for duration in durations]
    variables = 1 + calls + len(pairs)
    rows: list[tuple[dict[int, float], float]] = []
    for source, target, lag, delay in waits:
        rows.append(({1 + target: 1, 1 + source: -1, 0: -widths[source] - delay / scale}, -lag))
    for number, (one, other) in enumerate(pairs):
        order = 1 + calls + number
        rows.append(({1 + other: 1, 1 + one: -1, order: 1, 0: -widths[one]}, 0))
        rows.append(({1 + one: 1, 1 + other: -1, order: -1, 0: -widths[other]}, -1))
    matrix = np.zeros((len(rows), variables))
    for row, (entries, _) in enumerate(rows):
        for column, value in entries.items():
            matrix[row, column] += value
    reach = calls + max((lag for _, _, lag, _ in waits), default=0) + 1
    reach += math.ceil(sum(delay for *_, delay in waits) / scale)
    least, most = ([0], [1]) if not interleaves else ([-reach], [reach])
    found = milp(
        c=[-1.0, *[0.0] * (variables - 1)],
        constraints=LinearConstraint(matrix, lb=[bound for _, bound in rows]),
        bounds=Bounds(
            [0.0, *[-float(reach)] * calls, *least * len(pairs)],
            [1.0, *[float(reach)] * calls, *most * len(pairs)],
        ),
        integrality=[*[0] * (1 + calls), *[1] * len(pairs)],
        options={"mip_rel_gap": 0.0},
    )
    if not found.success or found.x[0] < 1e-6:
        return None
    return [round(value) for value in found.x[1 + calls :]]


def period_of_edges(calls: int, edges: Sequence[tuple[int, int, int, int]]) -> int | None:
    """The least whole P with start_b + lag P >= start_a + length for all edges (a, b, lag, length).

    A period is too short as long as some cycle has a length above its lags times the period; the next
    candidate is that cycle's own period (Howard 1960's policy improvement, from below).
    """
    period = 0
    while (cycle := _longest_cycle(calls, edges, period)) is not None:
        lag, length = sum(edge[2] for edge in cycle), sum(edge[3] for edge in cycle)
        if lag <= 0:
            return None
        period = -(-length // lag)
    return period


def _longest_cycle(
    calls: int, edges: Sequence[tuple[int, int, int, int]], period: int
) -> list[tuple[int, int, int, int]] | None:
    """A cycle longer than its lags allow, if any (Bellman and Ford)."""
    starts, reasons = [0] * calls, [-1] * calls
    last = -1
    for _ in range(calls + 1):
        last = -1
        for number, (source, target, lag, length) in enumerate(edges):
            earliest = starts[source] + length - lag * period
            if earliest > starts[target]:
                starts[target], reasons[target], last = earliest, number, target
        if last < 0:
            return None
    for _ in range(calls):
        last = edges[reasons[last]][0]
    cycle, at = [], last
    while True:
        cycle.append(edges[reasons[at]])
        at = edges[reasons[at]][0]
        if at == last:
            return cycle
