"""The figures of one point of a sweep, from the plan there."""

from planner.algorithms import planned_dataflow
from planner.costs.services import seconds_of_services
from planner.domain.dataflow import CallKind
from planner.domain.placement import format_placement
from planner.domain.plan import Plan
from planner.domain.sweep import Figures


def figures_of(plan: Plan) -> Figures:
    """The figures of a plan, each a field of `Figures`."""
    of, phases = plan.prediction, _phase_seconds(plan)
    return Figures(
        iteration_seconds=of.iteration_seconds,
        stage_cost_seconds=of.stage_cost_seconds,
        tokens_per_second=of.tokens_per_second,
        dollars_per_million_tokens=of.dollars_per_million_tokens,
        cluster_devices=plan.scenario.cluster.devices,
        devices=plan.used_devices,
        placement=format_placement(plan.placement),
        generation_seconds=phases.get("generate", 0.0),
        preparation_seconds=phases.get("infer", 0.0),
        training_seconds=phases.get("train", 0.0),
        send_seconds=phases.get("send"),
        receive_seconds=phases.get("receive"),
    )


def _phase_seconds(plan: Plan) -> dict[CallKind, float]:
    """By kind of call: the greatest of the pools' sums, services being one more pool."""
    graph = planned_dataflow(plan)
    seconds = seconds_of_services(plan.scenario, graph)
    seconds |= {name: call.seconds for name, call in plan.prediction.calls.items()}
    longest: dict[CallKind, float] = {}
    for pool in (*plan.placement, graph.services):
        own: dict[CallKind, float] = {}
        for call in graph.calls:
            if call.role in pool:
                own[call.kind] = own.get(call.kind, 0.0) + seconds[call.name]
        longest |= {kind: max(busy, longest.get(kind, 0.0)) for kind, busy in own.items()}
    return longest
