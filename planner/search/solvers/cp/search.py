"""The search for the best plan out of some pools, and for the first of equals by the written order."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from ortools.sat.python import cp_model

from planner.errors import PlannerError
from planner.search.bounds.busy import Ceiling
from planner.search.bounds.features import Features
from planner.search.bounds.floors import NEVER, Floors, Pools
from planner.search.bounds.front import Front
from planner.search.bounds.fronts import Fronts
from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.schedules.evaluation import evaluate_within
from planner.search.solvers.cp.program import Program, write_program
from planner.search.solvers.cp.schedule import schedule_program
from planner.search.solvers.cp.ties import KEYS, device_count, tie_keys

MadeFront = Callable[[int, Pools, int], Front]
"""Combinations of a set of roles that plans of some pools within a limit may contain."""
DETERMINISTIC_LIMIT = 60.0
"""CP-SAT's deterministic seconds per solve; the paper's scenarios need under one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long, from which seed and with how many workers to search."""

    seed: int = 0
    time_limit_s: float | None = None
    """Of wall-clock time; none for a limit in deterministic time."""
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The limits, since the search began."""

    limits: Limits
    deadline: float | None
    """On the monotonic clock; none without a limit in seconds."""

    @classmethod
    def start(cls, limits: Limits) -> "Clock":
        limit_s = limits.time_limit_s
        return cls(limits=limits, deadline=None if limit_s is None else time.monotonic() + limit_s)

    def share(self, count: int) -> Limits:
        """Limits of the next of so many searches, which share what is left of the time."""
        if self.deadline is None:
            return self.limits
        left_s = max(0.0, self.deadline - time.monotonic())
        return replace(self.limits, time_limit_s=left_s / count)

    @property
    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def solver(self) -> cp_model.CpSolver:
        """CP-SAT with the parameters that every solve has."""
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = self.limits.workers
        solver.parameters.cp_model_presolve = False
        solver.parameters.auto_detect_greater_than_at_least_one_of = False
        solver.parameters.linearization_level = 2
        solver.parameters.random_seed = self.limits.seed
        solver.parameters.catch_sigint_signal = (
            False  # its handler would stay, and end the process in silence
        )
        if self.deadline is None:
            solver.parameters.max_deterministic_time = DETERMINISTIC_LIMIT
        else:
            solver.parameters.max_time_in_seconds = max(0.0, self.deadline - time.monotonic())
        return solver


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best plan known, and what no plan undercuts."""

    solution: Solution | None
    bound_us: int
    """`NEVER` where there is no plan."""

    @property
    def is_proven(self) -> bool:
        """Whether the plan is the best, or there is none."""
        return self.bound_us >= (NEVER if self.solution is None else self.solution.objective_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """What one solve of one program brought."""

    pools: tuple[PoolChoice, ...] | None
    bound_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimised:
    """A plan that is first by some keys of the written order."""

    pools: tuple[PoolChoice, ...]
    values: tuple[int, ...]
    """Of the keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search for the best plan made of some pools."""

    floors: Floors
    by_feature: Fronts
    by_call: Fronts
    pools: Pools
    clock: Clock

    @classmethod
    def of(cls, floors: Floors, clock: Clock) -> "Search":
        """The search among all pools."""
        by_feature = Fronts(floors=floors, compared=floors.features)
        by_call = Fronts(floors=floors, compared=Features.by_call(floors.problem))
        is_stage = floors.problem.time_model == "stage"
        return cls(
            floors=floors,
            by_feature=by_feature,
            by_call=by_feature if is_stage else by_call,
            pools=floors.pools,
            clock=clock,
        )

    @property
    def problem(self) -> Problem:
        return self.floors.problem

    def best(self, known: Solution | None, at_most_us: int) -> Found:
        """The best plan, first by the bound alone, then where that is not enough by the schedule.

        Parameters
        ----------
        known
            A plan within the limit.
        at_most_us
            Longest time of interest.
        """
        best, bound_us = known, self.pools.least_us
        if best is not None and best.objective_us <= bound_us:
            return Found(solution=best, bound_us=bound_us)
        for is_exact in (True,) if self._bound_is_cost else (False, True):
            limit_us = at_most_us if best is None else best.objective_us
            least = self._least(limit_us, is_exact=is_exact, known=best)
            bound_us = max(bound_us, least.bound_us)
            if least.pools is not None:
                better_us = at_most_us if best is None else best.objective_us - 1
                best = evaluate_within(self.problem, least.pools, better_us) or best
            found = Found(solution=best, bound_us=bound_us)
            if found.is_proven or self.clock.is_late:
                return found
        return found

    def first(self, best: Solution) -> Solution:
        """The first plan of that objective in the written order, or that plan if the time is up.

        If the first by the bound alone is no worse exactly, it is the one; otherwise the schedule decides.
        """
        for is_exact in (True,) if self._bound_is_cost else (False, True):
            pools = None if self.clock.is_late else self._first(best, is_exact=is_exact)
            found = pools and evaluate_within(self.problem, pools, best.objective_us)
            if found:
                return found
        return best

    @property
    def _bound_is_cost(self) -> bool:
        return self.problem.time_model == "stage"

    def _least(self, limit_us: int, *, is_exact: bool, known: Solution | None) -> Least:
        """The plan of least cost, or of least bound, that is within the limit."""
        program = self._program(self.pools, limit_us, self._fronts(is_exact).within, is_exact=is_exact)
        program.cp.minimize(program.cost)
        solver = self.clock.solver()
        status = solver.solve(program.cp)
        if status == cp_model.INFEASIBLE:
            if known is not None:
                raise PlannerError(
                    "CP-SAT calls a problem infeasible for which a plan is known, a defect of the solver; "
                    "please report the scenario, and plan it with --solver exhaustive"
                )
            return Least(pools=None, bound_us=NEVER)
        if status == cp_model.UNKNOWN:
            return Least(pools=None, bound_us=0)
        return Least(pools=program.chosen(solver), bound_us=round(solver.best_objective_bound))

    def _first(self, best: Solution, *, is_exact: bool) -> tuple[PoolChoice, ...] | None:
        """The first plan as good as that one by the written order; none if the time is up.

        Its devices, and a limit on its microseconds of all calls, come first: few combinations can be part of
        a plan within both.
        """
        limit_us, fronts = best.objective_us, self._fronts(is_exact)
        fewest, at_all = self.pools.fewest_devices(self.floors, limit_us)
        ceiling = Ceiling(devices=best.devices, busy_us=best.busy_us(self.problem))
        if at_all < ceiling.devices:
            pools = replace(self.pools, alive=self.pools.alive & (fewest < ceiling.devices))
            fewer = self._program(pools, limit_us, fronts.few_within, is_exact=is_exact)
            fewer.cp.add(device_count(fewer) < ceiling.devices)
            least = self._minimised(fewer, 2)
            if least is None and self.clock.is_late:
                return None
            if least is not None:
                ceiling = Ceiling(devices=least.values[0], busy_us=least.values[1])
        pools = replace(self.pools, alive=self.pools.alive & (fewest <= ceiling.devices))
        ordered = partial(fronts.ordered_within, ceiling=ceiling)
        program = self._program(pools, limit_us, ordered, is_exact=is_exact)
        found = self._minimised(program, KEYS)
        return None if found is None else found.pools

    def _minimised(self, program: Program, count: int) -> Minimised | None:
        """The first plan of a program by so many keys of the written order; none if the time is up."""
        values: list[int] = []
        pools: tuple[PoolChoice, ...] = ()
        for key in islice(tie_keys(program), count):
            solver = self.clock.solver()
            program.cp.minimize(key)
            if solver.solve(program.cp) != cp_model.OPTIMAL:
                return None
            pools = program.chosen(solver)
            values.append(round(solver.objective_value))
            program.cp.add(key <= values[-1])
        return Minimised(pools=pools, values=tuple(values))

    def _program(self, pools: Pools, limit_us: int, made: MadeFront, *, is_exact: bool) -> Program:
        """The program of some pools, each with the combinations that are made of it."""
        sets = np.flatnonzero(pools.within(limit_us).any(axis=1)).tolist()
        fronts = {roles: made(roles, pools, limit_us) for roles in sets}
        program = write_program(self.floors, fronts, limit_us=limit_us)
        if is_exact and not self._bound_is_cost:
            schedule_program(program)
        return program

    def _fronts(self, is_exact: bool) -> Fronts:
        """Combinations that differ in what the bound notices, or in any call."""
        return self.by_call if is_exact else self.by_feature
