"""A plan whose pools and strategies are given: costed as the search costs its own."""

import math
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from planner.costs.iteration import slowest_circle
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Pool, RoleStrategy
from planner.search.answers.assembly import assemble
from planner.search.costs_protocol import Costs
from planner.search.microseconds import microseconds
from planner.search.objectives import Verdict
from planner.search.options.table import Options
from planner.search.problem import ENDLESS, Answer, PoolChoice, Problem, prepare
from planner.search.problem.allocation import Slot
from planner.search.schedules.evaluation import evaluate
from planner.search.schedules.periods import fixed_plan

_ROUNDING = 1e-6
"""Of a ratio of whole numbers, in microseconds."""


def costed_plan(outline: Plan, graph: DataflowGraph, costs: Costs) -> Plan:
    """The plan of an outline's pools and strategies, whether it fits the memory or not.

    Orders are the outline's if all its pools have one, otherwise the best.

    Nothing is said about other plans: its bound is 0, or the throughput of an iteration of one microsecond.

    Parameters
    ----------
    outline
        A plan whose pools, strategies and orders keep the rules; nothing else of it is read.
    """
    scenario = outline.scenario
    problem = _problem(outline, graph, costs)
    chosen = [
        PoolChoice(roles=pool.roles, slot=_slot(pool), rows=(0,) * len(pool.roles)) for pool in outline.pools
    ]
    solution, given = evaluate(problem, chosen), outline.pools if has_orders(outline) else ()
    answer = Answer(solution=solution, bound_us=0, runners_up=())
    if given and problem.time_model == "period":
        period_us = _period_us(outline, problem, chosen, graph)
        answer = replace(answer, solution=replace(solution, objective_us=period_us))
    least = 1 if scenario.minimise == "tokens_per_second" else 0
    verdict = Verdict(scenario=scenario, problem=problem, answer=answer, bound=least)
    return assemble(verdict, graph, costs, solver="hand", given=given)


def has_orders(outline: Plan) -> bool:
    """Whether every pool says in which order it runs its calls."""
    return all(pool.order for pool in outline.pools)


def orders_wait_in_circles(outline: Plan, graph: DataflowGraph) -> bool:
    """Whether no period lets the pools' orders and the waits for data and weights go together."""
    seconds = {call.name: 1.0 for call in graph.calls}
    return slowest_circle(graph, outline.pools, seconds) is None


def _period_us(outline: Plan, problem: Problem, chosen: Sequence[PoolChoice], graph: DataflowGraph) -> int:
    """The period of the outline's orders, of calls in whole microseconds as the search counts them."""
    durations, _, waits = fixed_plan(problem, chosen)
    us = {call.name: float(duration) for call, duration in zip(problem.calls, durations, strict=True)}
    away = {wait: float(delay) for wait, (*_, delay) in zip(graph.dependences, waits, strict=True)}
    circle = slowest_circle(graph, outline.pools, us, crossings=away)
    assert circle is not None, "the orders keep the rules"
    return math.ceil(circle.period - _ROUNDING)


def _problem(outline: Plan, graph: DataflowGraph, costs: Costs) -> Problem:
    """The problem whose roles have one option each, on devices of endless memory."""
    cluster = outline.scenario.cluster
    empty = prepare(outline.scenario.model_copy(update={"within": None}), graph, costs, slots=())
    options = {
        role: MappingProxyType(
            {
                _slot(pool): _option(
                    role, outline.strategies[role], graph, costs, cluster.node_pool(pool.node_pool)
                )
            }
        )
        for pool in outline.pools
        for role in pool.roles
    }
    endless = MappingProxyType(dict.fromkeys(empty.memory, ENDLESS))
    return replace(
        empty, options=MappingProxyType(options), memory=endless, host_memory=endless, together=(), apart=()
    )


def _slot(pool: Pool) -> Slot:
    return Slot(pool.node_pool, pool.devices)


def _option(
    role: str, strategy: RoleStrategy, graph: DataflowGraph, costs: Costs, node_pool: NodePool
) -> Options:
    calls = graph.calls_of(role)
    memory = costs.memory(role, strategy, node_pool)
    seconds = [costs.call(call, strategy, node_pool).seconds for call in calls]
    return Options(
        strategies=(strategy,),
        call_us=np.array([[microseconds(each) for each in seconds]], dtype=np.int64),
        persistent=np.array([memory.persistent_bytes], dtype=np.int64),
        transient=np.array([memory.transient_bytes], dtype=np.int64),
        host=np.array([memory.host], dtype=np.int64),
    )
