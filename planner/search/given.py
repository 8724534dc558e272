"""A plan whose pools and strategies are given: costed as the search costs its own."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Pool, RoleStrategy
from planner.search.allocation import Slot
from planner.search.assembly import assemble
from planner.search.evaluation import evaluate
from planner.search.objectives import Verdict
from planner.search.problem import ENDLESS, Answer, PoolChoice, Problem, prepare
from planner.search.strategies import Costs, Options, microseconds


def costed_plan(outline: Plan, graph: DataflowGraph, costs: Costs) -> Plan:
    """The plan of an outline's pools and strategies with the best orders, whether it fits the memory or not.

    Its bound is 0: nothing is said about other plans.

    Parameters
    ----------
    outline
        A plan whose pools and strategies keep the rules; nothing else of it is read.
    """
    scenario = outline.scenario
    problem = _problem(outline, graph, costs)
    chosen = [
        PoolChoice(roles=pool.roles, slot=_slot(pool), rows=(0,) * len(pool.roles)) for pool in outline.pools
    ]
    answer = Answer(solution=evaluate(problem, chosen), bound_us=0, runners_up=())
    plan = assemble(answer, problem, scenario, graph, costs, solver="exhaustive")
    return Verdict(scenario=scenario, problem=problem, answer=answer, bound=0).judge(plan)


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
