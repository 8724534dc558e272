"""A whole job: iterations whose responses grow, checkpoints, failures; hours and dollars."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner.costs import CostModel
from planner.costs.iteration import dollars_per_hour
from planner.costs.memory.checkpoints import checkpoint_bytes
from planner.domain.dataflow import DataflowGraph
from planner.domain.job import Job
from planner.domain.plan import CallPrediction, Plan
from planner.domain.scenario import Scenario
from planner.domain.simulated import JobReport, Simulation, Stretch
from planner.errors import SpecError
from planner.simulation.plans import simulate
from planner.simulation.reliability import ExpectedJob, best_interval, expected_job
from planner.units import HOUR_S

Floats = NDArray[np.float64]

STRETCHES = 5
"""Iterations of a growing job for which everything is costed anew."""


def job_report(
    plan: Plan, graph: DataflowGraph, costs: CostModel, *, iterations: int, first: Simulation | None = None
) -> JobReport:
    """What the plan's whole job takes.

    Parameters
    ----------
    iterations
        That each stretch is simulated for.
    first
        The first stretch, where it has been simulated already.

    Raises
    ------
    SpecError
        The scenario has no job; or failures would never let it be done (`EndlessJobError`).
    """
    job = plan.scenario.job
    if job is None:
        raise SpecError(f"{plan.scenario.name}: job: missing; say at least how many iterations it has")
    first = first or simulate(plan, graph, costs, iterations=iterations, curves=False)
    stretches = [_told(plan, 0, first)]
    for index in _indices(job)[1:]:
        longer, own = grown(plan, graph, costs, job.growth_at(index))
        found = simulate(longer, graph, own, iterations=iterations, curves=False)
        stretches.append(_told(longer, index, found))
    seconds = _along(job, stretches, [stretch.seconds for stretch in stretches])
    lengths = _along(job, stretches, [stretch.response_tokens for stretch in stretches])
    workload = plan.scenario.workload
    beside = workload.prompt_tokens.mean + workload.answer_tokens
    spent, best = _expected(plan, costs, job, seconds / job.iterations)
    devices, hourly = plan.used_devices, dollars_per_hour(plan.scenario, plan.pools)
    return JobReport(
        iterations=job.iterations,
        seconds=spent.seconds,
        iteration_seconds=seconds / job.iterations,
        device_hours=devices * spent.seconds / HOUR_S,
        dollars=None if hourly is None else hourly * spent.seconds / HOUR_S,
        tokens=workload.samples * (lengths + job.iterations * beside),
        goodput=spent.training / spent.seconds,
        parts={
            "training": spent.training,
            "checkpoints": spent.checkpoints,
            "lost": spent.lost,
            "restarts": spent.restarts,
        },
        failures=spent.failures,
        checkpoint_every=job.checkpoints.every if job.checkpoints else None,
        best_checkpoint_every=best,
        stretches=tuple(stretches),
    )


def grown(plan: Plan, graph: DataflowGraph, costs: CostModel, factor: float) -> tuple[Plan, CostModel]:
    """The plan with responses so many times as long; calls take longer as the cost model says.

    What measurements corrected stays corrected by the same factor, and weight syncs take what they took.
    """
    if factor == 1.0:
        return plan, costs
    scenario = with_responses(plan.scenario, factor)
    longer = CostModel(scenario, graph)
    calls = {}
    for call in graph.model_calls:
        strategy, node_pool = plan.strategies[call.role], plan.node_pool_of(call.role)
        before = costs.modelled_seconds(call, strategy, node_pool).work
        after = longer.modelled_seconds(call, strategy, node_pool).work
        known = plan.prediction.calls[call.name]
        sync = known.reshard_seconds
        calls[call.name] = CallPrediction(
            seconds=sync + (known.seconds - sync) * float(after / before) if before else known.seconds,
            reshard_seconds=sync,
            origin=known.origin,
        )
    prediction = plan.prediction.model_copy(update={"calls": calls})
    return plan.model_copy(update={"scenario": scenario, "prediction": prediction}), longer


def with_responses(scenario: Scenario, factor: float) -> Scenario:
    """The scenario with responses so many times as long, then cut at the same maximum."""
    lengths = scenario.workload.response_tokens.scaled(factor)
    workload = scenario.workload.model_copy(update={"response_tokens": lengths})
    return scenario.model_copy(update={"workload": workload})


def _told(plan: Plan, index: int, simulation: Simulation) -> Stretch:
    return Stretch(
        iteration=index,
        seconds=simulation.iteration_seconds,
        response_tokens=plan.scenario.workload.response_tokens.mean,
    )


def _indices(job: Job) -> list[int]:
    """Iterations that are costed: the first one, and more until lengths stop growing."""
    return sorted({round(number * job.last_growth / (STRETCHES - 1)) for number in range(STRETCHES)})


def _along(job: Job, stretches: Sequence[Stretch], values: Sequence[float]) -> float:
    """The sum over all iterations of what is known at some, linear between and constant after those."""
    at = [stretch.iteration for stretch in stretches]
    between = zip(pairwise(at), pairwise(values), strict=True)
    growing = sum(
        (high - low) * first + (last - first) * (high - low - 1) / 2 for (low, high), (first, last) in between
    )
    return growing + (job.iterations - at[-1]) * values[-1]


def _expected(plan: Plan, costs: CostModel, job: Job, iteration_s: float) -> tuple[ExpectedJob, int | None]:
    """(Expected seconds by what they go to, the best number of iterations between checkpoints)."""
    work_s = iteration_s * job.iterations
    failures = job.failures
    failure_s = failures.mean_time_between / plan.used_devices if failures else math.inf
    restart_s = failures.restart if failures else 0.0
    breaks = {"failure_s": failure_s, "restart_s": restart_s}
    checkpoints = job.checkpoints
    if checkpoints is None:
        return expected_job(work_s, interval_s=work_s, write_s=0.0, **breaks), None
    whole_s, behind = _checkpoint_bytes(plan, costs) / checkpoints.bandwidth, checkpoints.asynchronous

    def write_s(interval_s: Floats) -> Floats:
        return np.maximum(0.0, whole_s - behind * interval_s)

    breaks["delay_s"] = whole_s if behind else 0.0
    interval_s = min(checkpoints.every, job.iterations) * iteration_s
    stop_s = float(write_s(np.array(interval_s)))
    found = expected_job(work_s, interval_s=interval_s, write_s=stop_s, **breaks)
    return found, best_interval(work_s, iteration_s, write_s=write_s, **breaks) if failures else None


def _checkpoint_bytes(plan: Plan, costs: CostModel) -> int:
    """Of all roles that learn."""
    return sum(
        checkpoint_bytes(costs.setting(role, plan.node_pool_of(role))) for role in costs.graph.trained_roles
    )
