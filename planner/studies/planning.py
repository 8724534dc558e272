"""From a scenario to a plan, and from a plan to a predicted timeline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from planner.algorithms import asynchronous, dataflow_of, planned_dataflow
from planner.costs import CostModel
from planner.domain.cluster import DeviceSpec
from planner.domain.contradictions import check_roles
from planner.domain.dataflow import GENERATOR, DataflowGraph
from planner.domain.plan import Plan, Solver
from planner.domain.profile import Profile
from planner.domain.scenario import Scenario
from planner.domain.simulated import JobReport, Simulation
from planner.domain.timeline import Timeline
from planner.errors import InfeasibleError, NoneFasterError, PlannerError, SearchStoppedError, SpecError
from planner.search import SearchResult, solve
from planner.search.objectives.fastest import ANY_TIME
from planner.search.problem import RUNNERS_UP
from planner.simulation import simulate as play
from planner.simulation import timeline_of
from planner.simulation.job import job_report
from planner.simulation.plans import overlaps
from planner.units import MICROSECOND

OVERLAPPING = 5
"""Iterations that are simulated by default where one begins before the one before it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How to search for a plan."""

    solver: Solver = "cpsat"
    time_limit_s: float | None = None
    """Wall-clock limit; none searches until the proof."""
    seed: int = 0
    workers: int = 1
    """Threads of the default solver; the plan is the same whatever their number."""
    runners_up: int = RUNNERS_UP
    """How many other placements' best plans are wanted beside the answer."""
    fixes: bool = True
    """Whether a refusal names the changes that would help, each of which is searched for."""

    def __post_init__(self) -> None:
        if self.time_limit_s is not None and self.solver != "cpsat":
            raise SpecError(
                f"--time-limit: only the solver cpsat can be stopped early, {self.solver} runs to its end; "
                "leave out one of the two"
            )


def dataflow(scenario: Scenario) -> DataflowGraph:
    """The calls of one synchronous iteration of the scenario's algorithm.

    Raises
    ------
    SpecError
        The scenario's models are not those that the algorithm's roles need.
    """
    graph = dataflow_of(scenario)
    check_roles(scenario, graph, where=scenario.name)
    return graph


def dataflows(scenario: Scenario) -> tuple[DataflowGraph, ...]:
    """The dataflows that a plan may be made for: the synchronous one, and with staleness the other one too.

    A demand on the generator asks for the second.

    Raises
    ------
    SpecError
        The scenario's models are not those that the algorithm's roles need.
    """
    graph = dataflow(scenario)
    if not scenario.staleness:
        return (graph,)
    named = {role for group in (*scenario.colocate, *scenario.apart) for role in group}
    named |= {key.role for key in scenario.pin.root}
    apart = asynchronous(graph, scenario.staleness)
    return (apart,) if GENERATOR in named else (graph, apart)


def plan(
    scenario: Scenario,
    *,
    settings: SearchSettings | None = None,
    profiles: Sequence[Profile] = (),
    known: Plan | None = None,
) -> SearchResult:
    """The best plan of a scenario, with its proof.

    Profiles replace the data sheet of the devices they measured. With staleness the asynchronous plan is held
    against the synchronous one, which stays if it is as good.

    Parameters
    ----------
    known
        A plan of this scenario, of whichever origin. Without runners-up nothing slower is looked at, which is
        sooner done and finds the same.

    Raises
    ------
    InfeasibleError
        No plan fits the devices' memory or the pins.
    SearchStoppedError
        The time was up before any plan was found, or known not to exist.
    SpecError
        The scenario asks for something impossible, such as models that its algorithm has no role for.
    """
    settings = settings or SearchSettings()
    for profile in profiles:
        scenario = with_device(scenario, profile.device)
    start = time.perf_counter()
    found: list[Plan] = []
    failures: list[InfeasibleError | SearchStoppedError] = []
    if known is not None and not settings.runners_up:
        found, failures = _found(scenario, settings, profiles, since=start, at_most_us=_seconds_us(known))
    if failures or not found or any(each.proof.status != "optimal" for each in found):
        found, failures = _found(scenario, settings, profiles, since=start)
    if not found:
        raise _failure(failures)
    is_open = any(isinstance(error, SearchStoppedError) for error in failures)
    return SearchResult(plan=_best(found, is_open=is_open), solve_seconds=time.perf_counter() - start)


def timeline(plan: Plan, *, iterations: int = 1) -> Timeline:
    """The timeline of a plan in which each call takes the seconds that the plan predicts."""
    return timeline_of(plan, planned_dataflow(plan), iterations=iterations)


def _failure(failures: Sequence[InfeasibleError | SearchStoppedError]) -> PlannerError:
    """Of several dataflows' failures the one to tell: that nothing is known, or the least that is missing."""
    stopped = [error for error in failures if isinstance(error, SearchStoppedError)]
    infeasible = [error for error in failures if isinstance(error, InfeasibleError)]
    return stopped[0] if stopped else min(infeasible, key=lambda error: error.fastest_s)


def simulate(plan: Plan, *, iterations: int | None = None, curves: bool = True) -> Simulation:
    """A plan's iterations with each generation event by event; and the whole job, if the scenario has one.

    Parameters
    ----------
    iterations
        How many are drawn and shown; by default one, or a few where calls of several overlap.
    curves
        Whether each generation is also to tell its tokens over time.

    Raises
    ------
    SpecError
        No iteration is asked for; or the scenario's job would never be done.
    """
    if iterations is not None and iterations < 1:
        raise SpecError(f"{plan.scenario.name}: iterations must be at least 1, not {iterations}")
    graph = planned_dataflow(plan)
    count = _iterations_of(plan) if iterations is None else iterations
    costs = CostModel(plan.scenario, graph)
    found = play(plan, graph, costs, iterations=count, curves=curves)
    if plan.scenario.job is None:
        return found
    job = job_report(plan, graph, costs, iterations=count, first=found)
    return found.model_copy(update={"job": job})


def job_of(plan: Plan) -> JobReport:
    """What the whole job of a plan's scenario takes.

    Raises
    ------
    SpecError
        The scenario has no job; or failures would never let it be done.
    """
    graph = planned_dataflow(plan)
    return job_report(plan, graph, CostModel(plan.scenario, graph), iterations=_iterations_of(plan))


def _iterations_of(plan: Plan) -> int:
    """As many as show how iterations overlap."""
    return OVERLAPPING + plan.staleness if overlaps(plan) else 1


def _found(
    scenario: Scenario,
    settings: SearchSettings,
    profiles: Sequence[Profile],
    *,
    since: float,
    at_most_us: int = ANY_TIME,
) -> tuple[list[Plan], list[InfeasibleError | SearchStoppedError]]:
    """The best plan of each dataflow that is faster than those before it, and why others have none."""
    found: list[Plan] = []
    failures: list[InfeasibleError | SearchStoppedError] = []
    for graph in dataflows(scenario):
        limit_us = min([at_most_us, *(_seconds_us(rival) - 1 for rival in found)])
        try:
            found.append(_solved(scenario, graph, settings, profiles, since=since, at_most_us=limit_us))
        except NoneFasterError:
            continue
        except (InfeasibleError, SearchStoppedError) as error:
            failures.append(error)
    return found, failures


def _solved(
    scenario: Scenario,
    graph: DataflowGraph,
    settings: SearchSettings,
    profiles: Sequence[Profile],
    *,
    since: float,
    at_most_us: int,
) -> Plan:
    """The best plan for one dataflow in what is left of the time.

    Raises
    ------
    NoneFasterError
        It would take longer than that.
    """
    limit = settings.time_limit_s
    left = None if limit is None else max(0.0, limit - (time.perf_counter() - since))
    result = solve(
        scenario,
        graph,
        CostModel(scenario, graph, profiles=profiles),
        solver=settings.solver,
        time_limit_s=left,
        seed=settings.seed,
        workers=settings.workers,
        runners_up=settings.runners_up,
        fixes=settings.fixes,
        at_most_us=at_most_us,
    )
    return result.plan


def _seconds_us(rival: Plan) -> int:
    """Microseconds that a plan must stay below to be better; any where it is not seconds that count."""
    objective, minimise = rival.proof.objective, rival.proof.minimise
    if minimise in ("dollars", "devices"):
        return ANY_TIME + 1
    if minimise == "tokens_per_second":
        objective = rival.scenario.workload.total_tokens / objective
    return round(objective / MICROSECOND)


def _best(plans: Sequence[Plan], *, is_open: bool) -> Plan:
    """The best of the best plans of several dataflows; its bound is that of all of them.

    Parameters
    ----------
    is_open
        Whether the search for another dataflow was stopped, so that nothing bounds its plans.
    """
    sign = -1 if plans[0].proof.minimise == "tokens_per_second" else 1
    best = min(plans, key=lambda plan: sign * plan.proof.objective)
    bound = min((plan.proof.bound for plan in plans), key=lambda bound: sign * bound)
    if is_open:
        bound = best.scenario.workload.total_tokens / MICROSECOND if sign < 0 else 0.0
    is_proven = sign * bound >= sign * best.proof.objective
    proof = best.proof.model_copy(
        update={
            "bound": best.proof.objective if is_proven else bound,
            "status": "optimal" if is_proven else "feasible",
        }
    )
    return best.model_copy(update={"proof": proof})


def with_device(scenario: Scenario, device: DeviceSpec) -> Scenario:
    """The same scenario with another description of the device of that name."""
    return scenario.with_node_pools(
        lambda pool: pool.model_copy(update={"device": device}) if pool.device.name == device.name else pool
    )
