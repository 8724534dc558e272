"""Choose: placement, device counts and strategies of all roles together."""

import time
from dataclasses import dataclass

from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Solver
from planner.domain.scenario import Scenario
from planner.search.assembly import assemble
from planner.search.certify import Violation, certify, violations
from planner.search.cpsat import Limits, solve_with_cpsat
from planner.search.exhaustive import solve_exhaustively
from planner.search.hybridflow import solve_like_hybridflow
from planner.search.infeasible import explain
from planner.search.problem import Answer, Problem, prepare
from planner.search.strategies import Costs

__all__ = ["Costs", "SearchResult", "Violation", "certify", "solve", "violations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A plan, certified, and how long it took to find."""

    plan: Plan
    solve_seconds: float
    """Wall-clock time from the scenario to the plan, table and check included."""


def solve(
    scenario: Scenario,
    graph: DataflowGraph,
    costs: Costs,
    *,
    solver: Solver = "cpsat",
    time_limit_s: float | None = None,
    seed: int = 0,
) -> SearchResult:
    """The plan of least stage cost.

    Parameters
    ----------
    time_limit_s
        Wall-clock limit of the default solver; without one it stops at a deterministic limit.

    Raises
    ------
    InfeasibleError
        When no plan fits the devices and the demands, with the nearest change that helps.
    """
    start = time.perf_counter()
    problem = prepare(scenario, graph, costs)
    answer = _answer(problem, scenario, solver, Limits(seed=seed, time_limit_s=time_limit_s))
    if answer is None:
        raise explain(problem, scenario, graph, costs)
    plan = assemble(answer, problem, scenario, graph, costs, solver=solver)
    certify(plan, graph, costs)
    return SearchResult(plan=plan, solve_seconds=time.perf_counter() - start)


def _answer(problem: Problem, scenario: Scenario, solver: Solver, limits: Limits) -> Answer | None:
    if not all(problem.options.values()):
        return None
    if solver == "exhaustive":
        return solve_exhaustively(problem)
    if solver == "hybridflow":
        return solve_like_hybridflow(problem, scenario.cluster)
    return solve_with_cpsat(problem, limits)
