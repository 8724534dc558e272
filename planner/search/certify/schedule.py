"""The pools' orders admit a schedule, and seconds and totals are those that follow from it."""

from collections.abc import Iterator, Mapping
from itertools import permutations

import networkx as nx

from planner.costs import stage_cost, tokens_per_second
from planner.costs.bands import Term, circle_band
from planner.costs.iteration import dollars_per_million_tokens, slowest_circle
from planner.costs.services import seconds_of_services
from planner.costs.sync.crossing import crossings
from planner.costs.uncertainty import banded_call, term_of
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import CallPrediction, Plan, Pool, RoleStrategy
from planner.search.certify.call_costs import CallCosts
from planner.search.certify.violation import Violation, is_equal


def schedule_violations(plan: Plan, graph: DataflowGraph, costs: CallCosts) -> Iterator[Violation]:
    """What is wrong with the orders and the predicted seconds of sound pools and strategies."""
    found = list(order_violations(plan, graph))
    yield from found
    calls, terms = _calls(plan, graph, costs)
    for name in sorted(set(plan.prediction.calls) - set(calls)):
        yield Violation(rule="prediction", message=f"{name} has seconds, but is no call on the pools")
    for name, call in calls.items():
        written = plan.prediction.calls.get(name)
        if written is None or not _is_same(written, call):
            yield Violation(rule="prediction", message=f"{name}: {written} is not the cost model's {call}")
    if not found:
        yield from _totals(plan, graph, calls, terms)


def order_violations(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """Each pool has its calls once, some of them ahead of others."""
    lags = _least_lags(graph) if any(pool.ahead for pool in plan.pools) else {}
    for pool in plan.pools:
        calls = sorted(call.name for call in graph.model_calls if call.role in pool.roles)
        if sorted(pool.order) != calls:
            yield Violation(rule="order", message=f"{pool.name} orders {pool.order}, its calls are {calls}")
        elif not set(pool.ahead) <= set(calls) or min(pool.ahead.get(name, 0) for name in calls) != 0:
            message = f"{pool.name}: {pool.ahead} says by how much calls of {calls} are ahead of the rearmost"
            yield Violation(rule="ahead", message=message)
        else:
            yield from _too_far(pool, lags)


def _too_far(pool: Pool, lags: Mapping[tuple[str, str], int]) -> Iterator[Violation]:
    """A call further ahead of another one of its pool than what it waits for lets it be."""
    for one, other in permutations(pool.order, 2):
        ahead = pool.ahead.get(one, 0) - pool.ahead.get(other, 0)
        if ahead > (most := lags.get((other, one), ahead)):
            message = f"{pool.name}: {one} is {ahead} iterations ahead of {other}, it can be {most} at most"
            yield Violation(rule="ahead", message=message)
            return


def _least_lags(graph: DataflowGraph) -> dict[tuple[str, str], int]:
    """By source and target: how many iterations before its own the target waits for, also through others."""
    waits = nx.DiGraph()
    for wait in sorted(graph.dependences, key=lambda wait: -wait.lag):
        waits.add_edge(wait.source, wait.target, lag=wait.lag)
    found = nx.all_pairs_dijkstra_path_length(waits, weight="lag")
    return {(source, target): lag for source, lags in found for target, lag in lags.items()}


def _calls(
    plan: Plan, graph: DataflowGraph, costs: CallCosts
) -> tuple[dict[str, CallPrediction], dict[str, Term]]:
    """The cost model's prediction of each call that takes devices, alone and as a part of a sum."""
    calls: dict[str, CallPrediction] = {}
    terms: dict[str, Term] = {}
    for call in graph.model_calls:
        home = _home(plan, call.role)
        calls[call.name] = banded_call(call, costs.call(call, *home), *home, plan.scenario)
        terms[call.name] = term_of(call, calls[call.name], *home, plan.scenario)
    return calls, terms


def _totals(
    plan: Plan,
    graph: DataflowGraph,
    calls: Mapping[str, CallPrediction],
    terms: Mapping[str, Term],
) -> Iterator[Violation]:
    """Stage cost, period and what follows from them are those of the cost model's seconds."""
    scenario, prediction = plan.scenario, plan.prediction
    seconds = seconds_of_services(scenario, graph) | {name: call.seconds for name, call in calls.items()}
    away = crossings(scenario, graph, {role: pool.node_pool for pool in plan.pools for role in pool.roles})
    circle = slowest_circle(graph, plan.pools, seconds, crossings=away)
    if circle is None:
        message = "the pools' orders wait for each other within one iteration"
        yield Violation(rule="order", message=message)
        return
    low, high = circle_band(circle, terms)
    totals: Mapping[str, tuple[float | None, float | None]] = {
        "iteration": (prediction.iteration_seconds, circle.period),
        "iteration band, low": (prediction.iteration_low, low),
        "iteration band, high": (prediction.iteration_high, high),
        "stage cost": (prediction.stage_cost_seconds, stage_cost(graph, plan.placement, seconds)),
        "tokens per second": (prediction.tokens_per_second, tokens_per_second(scenario, circle.period)),
        "dollars": (
            prediction.dollars_per_million_tokens,
            dollars_per_million_tokens(scenario, plan.pools, circle.period),
        ),
    }
    for rule, (total, computed) in totals.items():
        if not is_equal(total, computed):
            yield Violation(rule=rule, message=f"{total!r} is written, {computed!r} computed")


def _is_same(written: CallPrediction, call: CallPrediction) -> bool:
    pairs = (
        (written.seconds, call.seconds),
        (written.seconds_low, call.seconds_low),
        (written.seconds_high, call.seconds_high),
        (written.reshard_seconds, call.reshard_seconds),
    )
    same = all(one is not None and is_equal(one, other) for one, other in pairs)
    return same and (written.origin, written.outside) == (call.origin, call.outside)


def _home(plan: Plan, role: str) -> tuple[RoleStrategy, NodePool]:
    return plan.strategies[role], plan.node_pool_of(role)
