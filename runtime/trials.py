"""What the profiler tries: each role in the layouts that a plan might give it on all devices."""

import math
from collections.abc import Iterator, Sequence

from planner.algorithms import dataflow_of
from planner.domain.capabilities import RUNTIME
from planner.domain.dataflow import DataflowGraph
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.pins import PinKey
from planner.domain.plan import Plan, Pool, Prediction, Proof, RoleMemory, RoleStrategy
from planner.domain.runnable import layout_refusals
from planner.domain.scenario import Scenario
from planner.errors import PlanMismatchError

SLOW_LEARNING = 1e-12
"""Learning rate while measuring: the policy, and with it the length of its responses, stays what it is."""


def trial_plans(scenario: Scenario, *, layouts: Sequence[ParallelStrategy], count: int) -> list[Plan]:
    """Plans with all roles on all devices of the cluster; in the k-th, each role in its k-th choice.

    Parameters
    ----------
    layouts
        Tried beside the pinned ones; empty for those with the least communication.
    count
        Plans at most. A role with fewer choices keeps its last one.
    """
    if len(scenario.cluster.node_pools) > 1:
        raise PlanMismatchError("cluster.node_pools: only one node pool can be measured at a time")
    graph = dataflow_of(scenario)
    choices = {role: list(_choices(scenario, graph, role, layouts))[:count] for role in graph.roles}
    for role, found in choices.items():
        if not found:
            raise PlanMismatchError(
                f"pin: no layout of {role} on {scenario.cluster.devices} devices agrees with the pins"
            )
    return [
        _plan(scenario, graph, {role: found[min(trial, len(found) - 1)] for role, found in choices.items()})
        for trial in range(max(map(len, choices.values())))
    ]


def _choices(
    scenario: Scenario, graph: DataflowGraph, role: str, layouts: Sequence[ParallelStrategy]
) -> Iterator[RoleStrategy]:
    phase = "train" if role in graph.trained_roles else "infer"
    for layout in layouts or _layouts(scenario.cluster.devices):
        sizes = {"pipeline": layout.pipeline, "tensor": layout.tensor, "data": layout.data}
        if _divides(scenario, role, layout) and scenario.pin.allow(role, phase, **sizes):
            yield from _strategies(scenario, graph, role, layout)


def _strategies(
    scenario: Scenario, graph: DataflowGraph, role: str, layout: ParallelStrategy
) -> Iterator[RoleStrategy]:
    is_trained = role in graph.trained_roles
    pinned = scenario.pin.root.get(PinKey(role, "", "micro_batch"))
    micro_batch = int(pinned or _micro_batch(scenario, layout, is_trained=is_trained))
    phase = {"train": layout} if is_trained else {"infer": layout}
    if all(call.kind != "generate" for call in graph.calls_of(role)):
        yield RoleStrategy(**phase, micro_batch=micro_batch)
        return
    generate = _generation(scenario, role, layout)
    if generate is not None:
        yield RoleStrategy(**phase, generate=generate, micro_batch=micro_batch)


def _layouts(devices: int) -> Iterator[ParallelStrategy]:
    """All layouts of the devices, those with the least communication first."""
    for model_parallel in _divisors(devices):
        for pipeline in _divisors(model_parallel):
            tensor = model_parallel // pipeline
            yield ParallelStrategy(pipeline=pipeline, tensor=tensor, data=devices // model_parallel)


def _divides(scenario: Scenario, role: str, layout: ParallelStrategy) -> bool:
    work = scenario.workload
    runs = not any(layout_refusals(RUNTIME, scenario.models[role], layout))
    return runs and layout.data <= work.samples // work.mini_batches


def _generation(scenario: Scenario, role: str, layout: ParallelStrategy) -> GenerationStrategy | None:
    """The smallest tensor size that the pins allow."""
    for tensor in _divisors(layout.tensor):
        replicas = layout.devices // tensor
        if scenario.pin.allow(role, "generate", tensor=tensor, replicas=replicas, pipeline=1):
            sequences = math.ceil(scenario.workload.samples / replicas)
            return GenerationStrategy(tensor=tensor, replicas=replicas, max_sequences=sequences)
    return None


def _micro_batch(scenario: Scenario, layout: ParallelStrategy, *, is_trained: bool) -> int:
    """The greatest power of two that a replica can pass through its model at once, as the planner chooses."""
    work = scenario.workload
    samples = math.ceil(work.samples / work.mini_batches) if is_trained else work.samples
    return 2 ** (math.ceil(samples / layout.data).bit_length() - 1)


def _plan(scenario: Scenario, graph: DataflowGraph, strategies: dict[str, RoleStrategy]) -> Plan:
    """All roles in one pool, in program order; predicting nothing."""
    (node_pool,) = scenario.cluster.node_pools
    nothing = RoleMemory(persistent={}, transient={})
    return Plan(
        scenario=_measured_scenario(scenario),
        pools=(
            Pool(
                name="pool-0",
                node_pool=node_pool.name,
                devices=node_pool.devices,
                roles=graph.roles,
                order=tuple(call.name for call in graph.model_calls),
            ),
        ),
        strategies=strategies,
        prediction=Prediction(
            calls={},
            memory=dict.fromkeys(graph.roles, nothing),
            iteration_seconds=0.0,
            stage_cost_seconds=0.0,
            tokens_per_second=0.0,
        ),
        proof=Proof(
            solver="hand", status="feasible", time_model=scenario.time_model, objective=0.0, bound=0.0
        ),
    )


def _measured_scenario(scenario: Scenario) -> Scenario:
    if scenario.run is None:
        return scenario
    rates = {"actor_learning_rate": SLOW_LEARNING, "critic_learning_rate": SLOW_LEARNING}
    return scenario.model_copy(update={"run": scenario.run.model_copy(update=rates)})


def _divisors(number: int) -> list[int]:
    return [factor for factor in range(1, number + 1) if number % factor == 0]
