"""What the controller costs: its iterations against those of a script that calls the same engines.

Both run in the same processes on the same engines, in turns, on the same prompts with the same seeds; what
they learn is compared, so that both have done the same work.
"""

import math
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.quickstart import ROLES, quickstart, resharding_pins, standing
from planner import plan as best_plan
from planner.algorithms import program_of
from planner.domain.dataflow import CONTROLLER
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from runtime.batch import Batch, Samples
from runtime.controller import Controller
from runtime.recipes import recipe_of
from runtime.schedule import Schedule
from runtime.session import Groups, KeptProcesses, build_roles
from runtime.transfer import Ranks
from runtime.watch import SubmittedCall, Traffic
from runtime.worker_group import Flight, WorkerGroup
from runtime.workers.call import Recipe, Report

Seconds = Mapping[str, float]
"""By call; of the whole under `ITERATION`."""

ITERATION = "iteration"
BARE = "bare"
"""The script, as a role beside the others."""
PAIRS = 20
WARM_UP = 2
EMPTY_CALLS = 200
TOLERANCE = 1e-6
"""Between the losses of both, relative; they add up the same numbers in the same order."""
WORKLOAD: dict[str, Any] = {
    "prompt_tokens": {"mean": 17, "maximum": 32},
    "response_tokens": {"mean": 16.5, "maximum": 32},
    "epochs": 1,
    "mini_batches": 4,
}
ALGORITHM_WORKLOADS: dict[str, dict[str, Any]] = {
    "ppo": {"prompts": 128},
    "grpo": {"prompts": 48, "samples_per_prompt": 4},
}


def measure() -> dict[str, Any]:
    """Seconds of an iteration of each algorithm both ways, medians; and what an empty call takes."""
    results: dict[str, Any] = {}
    with KeptProcesses() as kept:
        for algorithm, sizes in ALGORITHM_WORKLOADS.items():
            plan = plan_of(algorithm, sizes)
            groups = kept.groups(plan, address=None)
            build_roles({name: (groups[name], _recipe(plan, name)) for name in groups})
            results[algorithm] = compared(plan, Controller(plan, groups))
            print(algorithm, results[algorithm], flush=True)
        results["empty call"] = empty_calls(plan, groups)
    return results


def plan_of(algorithm: str, sizes: dict[str, Any]) -> Plan:
    """All roles on two processes, in the quickstart's layouts."""
    roles = ROLES[algorithm]
    scenario = quickstart(
        "controller",
        roles=roles,
        algorithm=algorithm,
        workload={**WORKLOAD, **sizes},
        pin=resharding_pins(roles),
    )
    return standing(best_plan(scenario).plan)


def compared(plan: Plan, controller: Controller) -> dict[str, Any]:
    """Medians of iterations in turns: the script's by the workers' clocks, the controller's by its own."""
    algorithm, pool = program_of(plan.scenario), plan.pools[0].name
    bare, controlled = [], []

    def alone(iteration: int) -> Sequence[Report]:
        reports = controller.ask(BARE, "iterate", pool=pool, iteration=str(iteration))
        bare.append(bare_seconds(reports))
        return reports

    def with_controller(iteration: int) -> Sequence[SubmittedCall]:
        start = time.perf_counter()
        finished = controller.iterate(algorithm, iteration=iteration)
        seconds = time.perf_counter() - start
        controlled.append({**controlled_seconds(finished), ITERATION: seconds})
        return finished

    for iteration in range(WARM_UP + PAIRS):
        if iteration % 2:
            finished, reports = with_controller(iteration), alone(iteration)
        else:
            reports, finished = alone(iteration), with_controller(iteration)
        check_same_work(reports, finished)
        print(iteration, bare[-1][ITERATION], controlled[-1][ITERATION], flush=True)
    return figures(bare[WARM_UP:], controlled[WARM_UP:])


def figures(bare: Sequence[Seconds], controlled: Sequence[Seconds]) -> dict[str, Any]:
    """Medians over iterations, of the whole and of each call, and how much longer the controller takes.

    >>> figures([{"iteration": 2.0}] * 3, [{"iteration": 2.1}] * 3)["overhead"]
    0.05
    """
    medians = {
        name: {
            "bare": round(median(each[name] for each in bare), 4),
            "controlled": round(median(each[name] for each in controlled), 4),
        }
        for name in bare[0]
    }
    whole = medians.pop(ITERATION)
    pairs = [mine[ITERATION] / its[ITERATION] - 1 for its, mine in zip(bare, controlled, strict=True)]
    return {
        "seconds": whole,
        "overhead": round(whole["controlled"] / whole["bare"] - 1, 4),
        "overhead_of_pairs": round(median(pairs), 4),
        "seconds_by_call": medians,
        "seconds_between_calls": round(
            whole["controlled"] - sum(each["controlled"] for each in medians.values()), 4
        ),
    }


def bare_seconds(reports: Sequence[Report]) -> Seconds:
    """Of an iteration and its calls, from the first rank's start to the last one's end."""
    return {
        name: max(report.parts[name][1] for report in reports)
        - min(report.parts[name][0] for report in reports)
        for name in reports[0].parts
    }


def controlled_seconds(finished: Sequence[SubmittedCall]) -> Seconds:
    """The same of the calls that a controller made."""
    return {
        done.name: max(report.end_s for report in done.reports)
        - min(report.start_s for report in done.reports)
        for done in finished
    }


def check_same_work(alone: Sequence[Report], finished: Sequence[SubmittedCall]) -> None:
    """Both learned the same from the same samples."""
    controlled: dict[str, float] = {}
    for done in finished:
        controlled.update(done.reports[0].metrics)
    for name, value in alone[0].metrics.items():
        assert math.isclose(value, controlled[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE), (
            f"not the same work: {name} is {value} without and {controlled[name]} with a controller"
        )


def empty_calls(plan: Plan, groups: Groups) -> dict[str, float]:
    """Milliseconds from submitting a call that does nothing to its result, and of each of many in flight."""
    pool = plan.pools[0].name
    single = [_empty_call_seconds(plan, groups[pool], calls=1) for _ in range(EMPTY_CALLS)]
    many = _empty_call_seconds(plan, groups[pool], calls=EMPTY_CALLS)
    return {
        "milliseconds": round(1000 * median(single), 3),
        "milliseconds_in_flight": round(1000 * many / EMPTY_CALLS, 3),
    }


def _empty_call_seconds(plan: Plan, processes: Sequence[Any], *, calls: int) -> float:
    pool = plan.pools[0].name
    flight, traffic = Flight(iteration=0), Traffic()
    group = WorkerGroup(
        role=BARE,
        pool=pool,
        processes=processes,
        ranks=Ranks(layout=ParallelStrategy(data=len(processes))),
        workload=plan.scenario.workload,
        schedule=Schedule(),
        flight=flight,
        traffic=traffic,
        deal=lambda method, rows: Batch(Samples(rows), {}),
    )
    start = time.perf_counter()
    for _ in range(calls):
        group.scores(Batch(Samples(range(len(processes))), {}))
    while traffic:
        traffic.settle()
    return time.perf_counter() - start


def _recipe(plan: Plan, pool: str) -> Recipe:
    if pool == CONTROLLER:
        return recipe_of(plan, CONTROLLER)
    (members,) = (other.roles for other in plan.pools if other.name == pool)
    return Recipe(module="benchmarks.bare", function="roles_with_script", arguments=(plan, members, BARE))
