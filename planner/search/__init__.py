"""Choose: placement, device counts and strategies of all roles together."""

import time
from dataclasses import dataclass

from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Solver
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError, NoneFasterError, SearchStoppedError
from planner.search.answers.assembly import assemble
from planner.search.certify import Violation, certify, violations
from planner.search.costs_protocol import Costs
from planner.search.objectives import best_by_objective
from planner.search.objectives.fastest import ANY_TIME, Fastest
from planner.search.problem import RUNNERS_UP, prepare
from planner.search.refusals.infeasible import refusal, with_fixes

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
    workers: int = 1,
    runners_up: int = RUNNERS_UP,
    fixes: bool = True,
    at_most_us: int = ANY_TIME,
) -> SearchResult:
    """The best plan by the scenario's objective.

    Parameters
    ----------
    time_limit_s
        Wall-clock limit of the search; without one it stops at a deterministic limit.
    workers
        Threads of the default solver; the plan is the same whatever their number.
    runners_up
        How many other placements' best plans are wanted beside the answer; fewer if there are no more.
    fixes
        Whether a refusal names the changes that would help, each of which is searched for.
    at_most_us
        Longest time of interest.

    Raises
    ------
    NoneFasterError
        When plans take longer than that, or none fits.
    InfeasibleError
        When no plan fits the devices and the demands, with the nearest change that helps.
    SearchStoppedError
        When the time is up before any plan was found or known not to exist, or the solver proves nothing.
    SpecError
        When dollars are asked for and a node pool has no price, or a call would take decades.
    """
    start = time.perf_counter()
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    fastest = Fastest(
        solver=solver,
        cluster=scenario.cluster,
        seed=seed,
        workers=workers,
        deadline=deadline,
        runners_up=runners_up,
    )
    try:
        is_bounded = at_most_us < ANY_TIME and not runners_up
        problem = prepare(scenario, graph, costs, limit_us=at_most_us if is_bounded else None)
        verdict = best_by_objective(problem, scenario, fastest, at_most_us=at_most_us)
    except InfeasibleError as error:
        raise (with_fixes(error, scenario, graph, costs) if fixes else error) from None
    if verdict is None and not fastest.proves:
        raise SearchStoppedError(
            f"HybridFlow's algorithm found no plan of {graph.name}, which says nothing about other plans; "
            "plan it with --solver cpsat"
        )
    if verdict is None and at_most_us < ANY_TIME:
        raise NoneFasterError(f"no plan of {graph.name} takes at most {at_most_us} us")
    if verdict is None:
        none_fits = refusal(problem, scenario, graph, costs)
        raise with_fixes(none_fits, scenario, graph, costs) if fixes else none_fits
    plan = assemble(verdict, graph, costs, solver=solver)
    certify(plan, graph, costs)
    return SearchResult(plan=plan, solve_seconds=time.perf_counter() - start)
