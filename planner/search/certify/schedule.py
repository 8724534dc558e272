"""The pools' orders admit a schedule, and seconds and totals are those that follow from it."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import networkx as nx

from planner.costs import stage_cost, tokens_per_second
from planner.costs.bands import Term, slowest_terms, sum_band
from planner.costs.uncertainty import banded_call, term_of
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import CallPrediction, Plan, RoleStrategy
from planner.search.certify.violation import Violation, is_equal
from planner.search.strategies import Costs


def schedule_violations(plan: Plan, graph: DataflowGraph, costs: Costs) -> Iterator[Violation]:
    """What is wrong with the orders and the predicted seconds of sound pools and strategies."""
    yield from _orders(plan, graph)
    yield from _prediction(plan, graph, costs)


def _orders(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """Each pool has its calls once, and all orders together contradict no data dependence."""
    dependences = nx.DiGraph(graph.graph.edges)
    for pool in plan.pools:
        calls = sorted(call.name for call in graph.model_calls if call.role in pool.roles)
        if sorted(pool.order) != calls:
            yield Violation(rule="order", message=f"{pool.name} orders {pool.order}, its calls are {calls}")
        dependences.add_edges_from(pairwise(pool.order))
    if not nx.is_directed_acyclic_graph(dependences):
        cycle = " -> ".join(edge[0] for edge in nx.find_cycle(dependences))
        yield Violation(rule="order", message=f"the pools' orders would wait for each other: {cycle}")


def _prediction(plan: Plan, graph: DataflowGraph, costs: Costs) -> Iterator[Violation]:
    """Seconds and their bands are the cost model's, and the totals follow from them."""
    prediction = plan.prediction
    calls: dict[str, CallPrediction] = {}
    terms: dict[str, Term] = {}
    for model_call in graph.model_calls:
        home = _home(plan, model_call.role)
        predicted = banded_call(model_call, costs.call(model_call, *home), *home, plan.scenario)
        calls[model_call.name] = predicted
        terms[model_call.name] = term_of(model_call, predicted, *home, plan.scenario)
    for name, call in calls.items():
        written = prediction.calls.get(name)
        if written is None or not _is_same(written, call):
            yield Violation(rule="prediction", message=f"{name}: {written} is not the cost model's {call}")
    cost = stage_cost(graph, plan.placement, {name: call.seconds for name, call in calls.items()})
    low, high = sum_band(slowest_terms(graph, plan.placement, terms))
    totals: Mapping[str, tuple[float | None, float | None]] = {
        "iteration band, low": (prediction.iteration_low, low),
        "iteration band, high": (prediction.iteration_high, high),
        "stage cost": (prediction.stage_cost_seconds, cost),
        "iteration": (prediction.iteration_seconds, cost),
        "tokens per second": (
            prediction.tokens_per_second,
            tokens_per_second(plan.scenario, prediction.iteration_seconds),
        ),
    }
    for rule, (total, computed) in totals.items():
        if total is None or not is_equal(total, computed):
            yield Violation(rule=rule, message=f"{total!r} is written, {computed!r} computed")


def _is_same(written: CallPrediction, call: CallPrediction) -> bool:
    pairs = (
        (written.seconds, call.seconds),
        (written.seconds_low, call.seconds_low),
        (written.seconds_high, call.seconds_high),
    )
    same = all(one is not None and is_equal(one, other) for one, other in pairs)
    return same and (written.origin, written.outside) == (call.origin, call.outside)


def _home(plan: Plan, role: str) -> tuple[RoleStrategy, NodePool]:
    return plan.strategies[role], plan.scenario.cluster.node_pool(plan.pool_of(role).node_pool)
