"""From a scenario to a plan, and from a plan to a predicted timeline."""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.algorithms import dataflow_of
from planner.costs import CostModel
from planner.domain.cluster import DeviceSpec
from planner.domain.contradictions import check_roles
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Solver
from planner.domain.profile import Profile
from planner.domain.scenario import Scenario
from planner.domain.timeline import Timeline
from planner.search import SearchResult, solve
from planner.simulation import simulate as play


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How to search for a plan."""

    solver: Solver = "cpsat"
    time_limit_s: float | None = None
    """Wall-clock limit; none searches until the proof."""
    seed: int = 0
    workers: int = 1
    """Threads of the default solver; the plan is the same whatever their number."""


def dataflow(scenario: Scenario) -> DataflowGraph:
    """The calls of one iteration of the scenario's algorithm.

    Raises
    ------
    SpecError
        The scenario's models are not those that the algorithm's roles need.
    """
    graph = dataflow_of(scenario)
    check_roles(scenario, graph, where=scenario.name)
    return graph


def plan(
    scenario: Scenario, *, settings: SearchSettings | None = None, profiles: Sequence[Profile] = ()
) -> SearchResult:
    """The best plan of a scenario, with its proof.

    Profiles replace the data sheet of the devices they measured.

    Raises
    ------
    InfeasibleError
        No plan fits the devices' memory or the pins.
    """
    settings = settings or SearchSettings()
    for profile in profiles:
        scenario = with_device(scenario, profile.device)
    graph = dataflow(scenario)
    costs = CostModel(scenario, graph, profiles=profiles)
    return solve(
        scenario,
        graph,
        costs,
        solver=settings.solver,
        time_limit_s=settings.time_limit_s,
        seed=settings.seed,
        workers=settings.workers,
    )


def simulate(plan: Plan, *, iterations: int = 1) -> Timeline:
    """The predicted timeline of a plan."""
    return play(plan, dataflow(plan.scenario), iterations=iterations)


def with_device(scenario: Scenario, device: DeviceSpec) -> Scenario:
    """The same scenario with another description of the device of that name."""
    pools = tuple(
        pool.model_copy(update={"device": device}) if pool.device.name == device.name else pool
        for pool in scenario.cluster.node_pools
    )
    cluster = scenario.cluster.model_copy(update={"node_pools": pools})
    return scenario.model_copy(update={"cluster": cluster})
