"""One door to all solvers."""

from dataclasses import replace

from planner.domain.cluster import Cluster
from planner.domain.plan import Solver
from planner.search.bounds.floors import NEVER
from planner.search.problem import RUNNERS_UP, Answer, Problem
from planner.search.problem.node_pools import best_of_parts, parts
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from planner.search.solvers.dp import solve_by_subsets
from planner.search.solvers.exhaustive import solve_exhaustively
from planner.search.solvers.hybridflow import solve_like_hybridflow

__all__ = ["Limits", "answer"]


def answer(
    problem: Problem,
    *,
    solver: Solver,
    cluster: Cluster,
    limits: Limits,
    at_most_us: int = NEVER,
    runners_up: int = RUNNERS_UP,
) -> Answer | None:
    """The plan of least time that a solver finds, or none where no plan takes at most so long.

    Parameters
    ----------
    cluster
        Whose nodes the baseline hands out whole.
    limits
        Of the default solver; the others take the time that they take.
    at_most_us
        Longest time of interest.
    runners_up
        How many other placements' best plans are wanted beside it.

    Raises
    ------
    SearchStoppedError
        When the time is up before any plan was found, or known not to exist.
    """
    problems = parts(problem)
    if len(problems) > 1:
        each = limits.among(len(problems))
        return best_of_parts(
            problems,
            lambda part: answer(
                part,
                solver=solver,
                cluster=cluster,
                limits=each,
                at_most_us=at_most_us,
                runners_up=runners_up,
            ),
            runners_up=runners_up,
        )
    if not all(problem.options.values()):
        return None
    if solver == "cpsat":
        return solve_with_cpsat(problem, limits, at_most_us=at_most_us, runners_up=runners_up)
    if solver == "dp":
        found = solve_by_subsets(problem, runners_up=runners_up)
    elif solver == "exhaustive":
        found = solve_exhaustively(problem, runners_up=runners_up)
    else:
        found = solve_like_hybridflow(problem, cluster, runners_up=runners_up)
    return None if found is None else _within(found, at_most_us)


def _within(found: Answer, at_most_us: int) -> Answer | None:
    """What of an answer takes at most so long."""
    if found.solution.objective_us > at_most_us:
        return None
    others = tuple(other for other in found.runners_up if other.objective_us <= at_most_us)
    return replace(found, runners_up=others)
