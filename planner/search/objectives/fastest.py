"""The black box of all objectives: the plan of least time, or the proof that none is short enough."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from planner.domain.cluster import Cluster
from planner.domain.plan import Solver
from planner.errors import SearchStoppedError
from planner.search.bounds.floors import NEVER, Floors
from planner.search.problem import RUNNERS_UP, Answer, Problem, Solution
from planner.search.problem.parts import parts
from planner.search.solvers import Limits, answer
from planner.search.solvers.beam import quick_solutions

ANY_TIME = NEVER - 1
"""More microseconds than any plan takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The fastest plan that was asked for, if there is one, and what is known about all plans."""

    answer: Answer | None
    bound_us: int
    """No plan takes less; `NEVER` where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best plan by an objective, or none, and what no plan undercuts, in the objective's whole units."""

    answer: Answer | None
    """Its runners-up are the best plans of other placements under the same budget."""
    bound: int
    is_proven: bool
    """Whether there is no better plan, or none at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fastest:
    """One solver, asked again and again until the time is up."""

    solver: Solver
    cluster: Cluster
    seed: int = 0
    workers: int = 1
    deadline: float | None = None
    """On the monotonic clock."""
    runners_up: int = RUNNERS_UP
    """How many other placements' best plans are wanted beside the answer."""

    @property
    def left_s(self) -> float | None:
        """Seconds left; none without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def proves(self) -> bool:
        """Whether there is no plan where the solver finds none."""
        return self.solver != "hybridflow"

    @property
    def is_late(self) -> bool:
        return self.left_s == 0.0

    def plan(self, problem: Problem, *, at_most_us: int = ANY_TIME, runners_up: int | None = None) -> Reply:
        """The fastest plan, if it takes at most so long.

        Parameters
        ----------
        runners_up
            How many other placements' best plans are wanted beside this one, if not as many as in general.
        """
        floor_us = self.floor_us(problem)
        if floor_us > at_most_us:
            return Reply(answer=None, bound_us=floor_us)
        try:
            found = answer(
                problem,
                solver=self.solver,
                cluster=self.cluster,
                limits=Limits(seed=self.seed, time_limit_s=self.left_s, workers=self.workers),
                at_most_us=at_most_us,
                runners_up=self.runners_up if runners_up is None else runners_up,
            )
        except SearchStoppedError:
            return Reply(answer=None, bound_us=floor_us)
        if found is None:
            return Reply(answer=None, bound_us=NEVER if self.proves else floor_us)
        return Reply(answer=found, bound_us=max(found.bound_us, floor_us))

    def plan_or(self, known: Solution, problem: Problem, *, at_most_us: int = ANY_TIME) -> Answer:
        """The fastest plan with its runners-up, or a known one where that is as good and the time is up."""
        reply = self.plan(problem, at_most_us=at_most_us)
        if reply.answer is None or reply.answer.solution.objective_us > known.objective_us:
            return Answer(solution=known, bound_us=reply.bound_us, runners_up=())
        return reply.answer

    def floor_us(self, problem: Problem) -> int:
        """What any plan takes at least, without a search."""
        return Floors.of(problem).root_us if all(problem.options.values()) else NEVER

    def quick(self, problem: Problem) -> Sequence[Solution]:
        """Some plans, found by the beam, fastest first; none only says that it found none."""
        if self.solver != "cpsat" or not all(problem.options.values()):
            return ()
        found = (
            solution
            for part in parts(problem)
            if all(part.options.values())
            for solution in quick_solutions(part, Floors.of(part)).values()
        )
        return tuple(sorted(found, key=lambda solution: solution.objective_us))
