"""One door to all solvers."""

from dataclasses import replace

from planner.domain.cluster import Cluster
from planner.domain.plan import Solver
from planner.errors import SearchStoppedError
from planner.search.bounds.floors import NEVER, Floors
from planner.search.problem import RUNNERS_UP, Answer, Problem
from planner.search.problem.parts import parts, whole_parts
from planner.search.solvers.cpsat import Clock, Limits, solve_with_cpsat
from planner.search.solvers.dp import solve_by_subsets
from planner.search.solvers.exhaustive import solve_exhaustively
from planner.search.solvers.hybridflow import solve_like_hybridflow
from planner.search.solvers.together import Together

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
    whole = whole_parts(problem)
    problems = whole if solver == "hybridflow" else parts(problem)
    clock, together = Clock.start(limits), Together(at_most_us=at_most_us, runners_up=runners_up)
    for number, part in enumerate(problems):
        if not all(part.options.values()):
            continue
        most_us, within = together.limit_us, clock.share(max(1, len(whole) - number))
        try:
            found = _answer(part, solver, cluster, within, at_most_us=most_us, runners_up=runners_up)
        except SearchStoppedError:
            together.stop(Floors.of(part).root_us)
        else:
            together.add(found)
    return together.best()


def _answer(
    problem: Problem, solver: Solver, cluster: Cluster, limits: Limits, *, at_most_us: int, runners_up: int
) -> Answer | None:
    """That of a problem whose pools always pack."""
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
