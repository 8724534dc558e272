"""Cost of a whole iteration from its calls': the paper's stage cost, and the period of a plan's orders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from planner.costs.cycles import Arc, critical_cycle
from planner.costs.sync.crossing import Link, link_loads
from planner.domain.dataflow import DataflowGraph, Dependence
from planner.domain.plan import Pool
from planner.domain.scenario import Scenario
from planner.errors import SpecError
from planner.units import HOUR_S, MILLION

NO_CROSSINGS: Mapping[Dependence, float] = MappingProxyType({})
"""Of a plan inside one node pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """Calls that wait for each other from one iteration to a later one, and so decide the period.

    Or a link between node pools without calls, whose turns follow each other: what crosses in one iteration,
    and then what crosses in the next.
    """

    calls: tuple[str, ...]
    """Each waits for the one before it, the first for the last."""
    lag: int
    """Iterations from the first call to its next turn."""
    crossing_seconds: float
    """On the way between node pools, beside the calls' own."""
    period: float
    """Seconds of the calls and the crossings together over the lag."""
    link: Link | None = None
    """From which node pool to which, where what crosses decides."""


def stage_cost(graph: DataflowGraph, pools: Sequence[tuple[str, ...]], seconds: Mapping[str, float]) -> float:
    """The paper's d_cost (HybridFlow, algorithm 1, lines 25 to 34).

    The sum over stages of the maximum over pools of the sum over the pool's calls in that stage. Services
    count as one more pool.

    Parameters
    ----------
    pools
        Roles of each pool.
    seconds
        Seconds of each call that takes time, by its name.
    """
    return sum(
        max(
            sum(seconds[call.name] for call in stage if call.role in pool)
            for pool in (*pools, graph.services)
        )
        for stage in graph.stages
    )


def period(
    graph: DataflowGraph,
    pools: Sequence[Pool],
    seconds: Mapping[str, float],
    *,
    crossings: Mapping[Dependence, float] = NO_CROSSINGS,
) -> float:
    """Seconds from one iteration to the next, once all calls start as soon as orders and waits let them.

    Raises
    ------
    SpecError
        When the orders and the waits contradict each other.
    """
    slowest = slowest_circle(graph, pools, seconds, crossings=crossings)
    if slowest is None:
        orders = "; ".join(f"{pool.name}: {', '.join(pool.order)}" for pool in pools)
        raise SpecError(
            f"the pools' orders wait for each other within one iteration ({orders}); put what a call needs "
            "before it, or let it run ahead"
        )
    return slowest.period


def slowest_circle(
    graph: DataflowGraph,
    pools: Sequence[Pool],
    seconds: Mapping[str, float],
    *,
    crossings: Mapping[Dependence, float] = NO_CROSSINGS,
) -> Circle | None:
    """What decides the period: of all circles of waits the one of most seconds an iteration, or a link.

    A call waits for its inputs, for weights, and for the call before it in its pool's order; the first one
    waits for the last one of the pool's period before. A link between two node pools decides where all that
    crosses it in one direction takes longer than any circle.

    Parameters
    ----------
    seconds
        Of each call, by its name; 0 for those left out, such as numeric ones.
    crossings
        Seconds from the end of a dependence's source until its target can start; 0 for those left out.

    Returns
    -------
    None when the orders and the waits contradict each other.
    """
    numbers = {call.name: number for number, call in enumerate(graph.calls)}
    arcs = [
        Arc(numbers[source], numbers[target], seconds.get(source, 0.0) + crossing, lag)
        for source, target, crossing, lag in (*_waits(graph, crossings), *_sequences(pools))
    ]
    found = critical_cycle(len(numbers), arcs)
    if found is None:
        return None
    slowest, cycle = found
    calls = tuple(graph.calls[arc.source].name for arc in cycle)
    circle = Circle(
        calls=calls,
        lag=sum(arc.lag for arc in cycle),
        crossing_seconds=sum(arc.length for arc in cycle) - sum(seconds.get(name, 0.0) for name in calls),
        period=slowest,
    )
    return max([circle, *_links(graph, pools, crossings)], key=lambda each: each.period)


def tokens_per_second(scenario: Scenario, iteration_seconds: float) -> float:
    """Prompt and response tokens of all samples over the iteration (HybridFlow, section 8.1)."""
    return scenario.workload.total_tokens / iteration_seconds


def dollars_per_million_tokens(
    scenario: Scenario, pools: Sequence[Pool], iteration_seconds: float
) -> float | None:
    """What the pools' devices cost while they train a million tokens; none where one has no price."""
    hourly = dollars_per_hour(scenario, pools)
    if hourly is None:
        return None
    return hourly * iteration_seconds / HOUR_S / scenario.workload.total_tokens * MILLION


def dollars_per_hour(scenario: Scenario, pools: Sequence[Pool]) -> float | None:
    """What the pools' devices cost; none where one has no price."""
    prices = [scenario.cluster.node_pool(pool.node_pool).price for pool in pools]
    hourly = sum(pool.devices * (price or 0.0) for pool, price in zip(pools, prices, strict=True))
    return None if None in prices else hourly


def _links(
    graph: DataflowGraph, pools: Sequence[Pool], crossings: Mapping[Dependence, float]
) -> Iterator[Circle]:
    """A link's turns of one iteration wait for those of the one before."""
    node_pools = {role: pool.node_pool for pool in pools for role in pool.roles}
    for link, load_s in link_loads(graph, crossings, node_pools).items():
        yield Circle(calls=(), lag=1, crossing_seconds=load_s, period=load_s, link=link)


def _waits(
    graph: DataflowGraph, crossings: Mapping[Dependence, float]
) -> Iterator[tuple[str, str, float, int]]:
    for wait in graph.dependences:
        yield wait.source, wait.target, crossings.get(wait, 0.0), wait.lag


def _sequences(pools: Sequence[Pool]) -> Iterator[tuple[str, str, float, int]]:
    """A pool's period j runs each call of iteration j + ahead."""
    for pool in pools:
        for one, other in pairwise(pool.order):
            yield one, other, 0.0, pool.ahead.get(other, 0) - pool.ahead.get(one, 0)
        first, last = pool.order[0], pool.order[-1]
        yield last, first, 0.0, 1 + pool.ahead.get(first, 0) - pool.ahead.get(last, 0)
