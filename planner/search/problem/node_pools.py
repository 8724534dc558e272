"""Problems whose pools must all lie in one node pool: as many problems, of which the best answer counts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from planner.domain.placement import Placement
from planner.errors import SearchStoppedError
from planner.search.problem import Answer, Problem, Solution


def parts(problem: Problem) -> tuple[Problem, ...]:
    """The problems of each node pool alone; the problem itself where its pools may lie in several."""
    if problem.spreads or len(problem.capacities) == 1:
        return (problem,)
    return tuple(_inside(problem, name) for name in problem.capacities)


def best_of_parts(
    problems: Sequence[Problem], ask: Callable[[Problem], Answer | None], *, runners_up: int
) -> Answer | None:
    """The best of the problems' answers, of equal ones that of fewer devices or the earlier node pool.

    A problem without an answer has no plan, or none of interest. Nothing is proved where one was stopped.

    Raises
    ------
    SearchStoppedError
        When the time is up before any plan was found, or known not to exist.
    """
    answers, stopped = _answers(problems, ask)
    if not answers and stopped:
        raise SearchStoppedError
    if not answers:
        return None
    best = min(answers, key=lambda found: (found.solution.objective_us, found.solution.devices)).solution
    return Answer(
        solution=best,
        bound_us=0 if stopped else min(found.bound_us for found in answers),
        runners_up=tuple(_best_others(answers, best.placement))[:runners_up],
    )


def _answers(
    problems: Sequence[Problem], ask: Callable[[Problem], Answer | None]
) -> tuple[list[Answer], int]:
    """The answers, and how many problems were stopped before they had one."""
    answers: list[Answer] = []
    stopped = 0
    for problem in problems:
        try:
            found = ask(problem)
        except SearchStoppedError:
            stopped += 1
        else:
            answers += [] if found is None else [found]
    return answers, stopped


def _inside(problem: Problem, name: str) -> Problem:
    options = {
        role: MappingProxyType({slot: table for slot, table in tables.items() if slot.node_pool == name})
        for role, tables in problem.options.items()
    }
    return replace(
        problem,
        options=MappingProxyType(options),
        capacities=MappingProxyType({name: problem.capacities[name]}),
    )


def _best_others(answers: Sequence[Answer], beside: Placement) -> Iterator[Solution]:
    """The best plan of each other placement, best first."""
    solutions = [solution for found in answers for solution in (found.solution, *found.runners_up)]
    ranked = sorted(solutions, key=lambda solution: (solution.objective_us, solution.placement))
    best = {solution.placement: solution for solution in reversed(ranked) if solution.placement != beside}
    yield from sorted(best.values(), key=lambda solution: (solution.objective_us, solution.placement))
