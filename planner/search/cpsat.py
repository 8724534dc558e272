"""The default solver: placement, devices and strategies chosen together by OR-Tools CP-SAT.

A beam search first finds good plans, and what cannot be part of a plan as good is dropped before the model is
built (`planner.search.floors`); that saves nine tenths of the time. One boolean says whether a set of roles
forms a pool on a slot, one whether a role uses an option. A set of roles is one value, so no two solutions
differ in the numbering of their pools.

Two parts of CP-SAT 9.15 are off because they lose solutions of models like this one and certify what is left:
its presolve (google/or-tools#5293), which after ours saves no time anyway, and the detection of "greater than
at least one of" among enforced sums, which calls feasible models infeasible. The full linear relaxation is
on: it proves five and more roles ten times faster.

The answer is the same on every run: one worker, a fixed seed, and a limit in deterministic time unless one in
seconds is asked for. Plans of equal objective are told apart by solving again with the objective held: the
fewest devices, then the fewest microseconds of all calls together, then the fewest bytes of all roles.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from planner.domain.placement import Placement
from planner.errors import PlannerError
from planner.search.beam import quick_solutions
from planner.search.cp_program import Program, write_program
from planner.search.floors import Floors, candidates
from planner.search.problem import RUNNERS_UP, Answer, Problem, Solution

DETERMINISTIC_LIMIT = 60.0
"""CP-SAT's deterministic seconds per solve; the paper's scenarios need under one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and from which seed to search."""

    seed: int = 0
    time_limit_s: float | None = None
    """Of wall-clock time; none for a limit in deterministic time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one search brought."""

    solution: Solution | None
    bound_us: int


def solve_with_cpsat(problem: Problem, limits: Limits) -> Answer | None:
    """The best plan with its bound and the runners-up, or none when nothing fits.

    Raises
    ------
    PlannerError
        When the time is up before any plan was found, or known not to exist.
    """
    search = Search.begin(problem, limits)
    best = search.best_beside([])
    if best.solution is None:
        return None
    found = [best.solution]
    while len(found) <= RUNNERS_UP:
        other = search.best_beside([solution.placement for solution in found])
        if other.solution is None:
            break
        found.append(other.solution)
    return Answer(solution=best.solution, bound_us=best.bound_us, runners_up=tuple(found[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What all searches of one problem share."""

    problem: Problem
    floors: Floors
    quick: dict[Placement, Solution]
    """The beam's best plan of each placement."""
    seed: int
    deadline: float | None

    @classmethod
    def begin(cls, problem: Problem, limits: Limits) -> "Search":
        """Start the clock and find the quick plans."""
        deadline = None if limits.time_limit_s is None else time.monotonic() + limits.time_limit_s
        floors = Floors.of(problem)
        quick = quick_solutions(problem, floors)
        return cls(problem=problem, floors=floors, quick=quick, seed=limits.seed, deadline=deadline)

    def best_beside(self, excluded: Sequence[Placement]) -> Found:
        """The best plan that has none of these placements."""
        quick = next((self.quick[placement] for placement in self.quick if placement not in excluded), None)
        limit_us = quick.objective_us if quick else self.floors.ceiling_us
        program = self._program(limit_us, excluded)
        program.cp.minimize(cp_model.LinearExpr.sum(program.stages))
        solver = self._solver()
        status = solver.solve(program.cp)
        if status == cp_model.INFEASIBLE:
            if quick is not None:
                raise PlannerError(
                    "CP-SAT calls a problem infeasible for which a plan is known, a defect of the solver; "
                    "please report the scenario, and plan it with --solver exhaustive"
                )
            return Found(solution=None, bound_us=0)
        if status == cp_model.UNKNOWN:
            return self._unsolved(quick)
        bound_us = round(solver.best_objective_bound)
        solution = program.solution(solver)
        if status == cp_model.OPTIMAL:
            solution = self._tie_break(solution, excluded)
        return Found(solution=solution, bound_us=bound_us)

    def _unsolved(self, quick: Solution | None) -> Found:
        if quick is None:
            raise PlannerError(
                "the search was stopped before it found a plan or proved that there is none; "
                "give it more time (--time-limit), or none to let it finish"
            )
        return Found(solution=quick, bound_us=self.floors.root_us)

    def _tie_break(self, solution: Solution, excluded: Sequence[Placement]) -> Solution:
        """The plan of that objective with the least devices, then microseconds, then bytes."""
        program = self._program(solution.objective_us, excluded)
        for key in (_devices(program), _busy_us(program), _bytes(program)):
            solver = self._solver()
            program.cp.minimize(key)
            if solver.solve(program.cp) != cp_model.OPTIMAL:
                return solution
            solution = program.solution(solver)
            program.cp.add(key <= round(solver.objective_value))
        return solution

    def _program(self, limit_us: int, excluded: Sequence[Placement]) -> Program:
        useful = candidates(self.problem, self.floors, limit_us)
        return write_program(self.problem, useful, limit_us=limit_us, excluded=excluded)

    def _solver(self) -> cp_model.CpSolver:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.cp_model_presolve = False
        solver.parameters.auto_detect_greater_than_at_least_one_of = False
        solver.parameters.linearization_level = 2
        solver.parameters.random_seed = self.seed
        if self.deadline is None:
            solver.parameters.max_deterministic_time = DETERMINISTIC_LIMIT
        else:
            solver.parameters.max_time_in_seconds = max(0.0, self.deadline - time.monotonic())
        return solver


def _devices(program: Program) -> cp_model.LinearExprT:
    taken = [slot.devices for _, slot in program.pools]
    return cp_model.LinearExpr.weighted_sum(list(program.pools.values()), taken)


def _busy_us(program: Program) -> cp_model.LinearExprT:
    return program.total(lambda table: table.call_us.sum(axis=1))


def _bytes(program: Program) -> cp_model.LinearExprT:
    return program.total(lambda table: table.persistent + table.transient)
