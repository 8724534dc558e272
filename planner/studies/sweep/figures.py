"""The figures of one point of a sweep, from the plan there."""

from planner.algorithms import planned_dataflow
from planner.costs.services import seconds_of_services
from planner.domain.dataflow import CallKind
from planner.domain.placement import format_placement
from planner.domain.plan import Plan
from planner.domain.sweep import Figures
from planner.studies.planning import simulate
from planner.units import HOUR_S


def figures_of(plan: Plan, *, simulates: bool = False) -> Figures:
    """The figures of a plan, each a field of `Figures`.

    Parameters
    ----------
    simulates
        Whether its iterations are played, too.
    """
    found = _predicted(plan)
    return found.model_copy(update=_simulated(plan)) if simulates else found


def _simulated(plan: Plan) -> dict[str, float | None]:
    """What only a simulation says."""
    found = simulate(plan, curves=False)
    device_seconds = sum(each.device_seconds for each in found.idle)
    last = [one for one in found.generation if one.iteration == found.iterations - 1]
    slowest = max(last, key=lambda one: one.seconds, default=None)
    return {
        "simulated_seconds": found.iteration_seconds,
        "simulated_tokens_per_second": found.tokens_per_second,
        "tail_seconds": slowest.tail["100"] - slowest.tail["90"] if slowest else None,
        "idle_share": 1 - sum(each.busy for each in found.idle) / device_seconds,
        "job_hours": found.job.seconds / HOUR_S if found.job else None,
        "job_dollars": found.job.dollars if found.job else None,
    }


def _predicted(plan: Plan) -> Figures:
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
