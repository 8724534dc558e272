"""The default solver: placement, device counts and strategies chosen together by OR-Tools CP-SAT.

A beam search first finds good plans, and what cannot be part of a plan as good is dropped before the model is
built (`planner.search.bounds`); that saves nine tenths of the time. One boolean says whether a set of roles
forms a pool on a slot with certain options. A set of roles is one value, so no two solutions differ in the
numbering of their pools.

The model's cost is a lower bound of the plan's (`planner.search.bounds.features`), under ``stage`` the cost
itself. Under ``period`` the plan of least bound is evaluated exactly: if it costs no more than its bound, or
a known plan does not, then that is the proof. Otherwise the schedule is added to the model
(`planner.search.solvers.cp.schedule`).

Two parts of CP-SAT 9.15 are off because they lose solutions of models like this one and certify what is left:
its presolve (google/or-tools#5293), which after ours saves no time anyway, and the detection of "greater than
at least one of" among enforced sums, which calls feasible models infeasible. The full linear relaxation is
on: it proves five and more roles ten times faster.

The answer is the same on every run and with any number of workers: a fixed seed, a limit in deterministic
time unless one in seconds is asked for, and a written order of plans of equal objective, by which the model
is solved again with the objective held (`planner.search.solvers.cp.ties`). A runner-up that is as good as the
beam's plan of its placement is that plan, which does not depend on them either.
"""

from dataclasses import replace

from planner.errors import SearchStoppedError
from planner.search.bounds.floors import NEVER, Floors, Pools
from planner.search.problem import RUNNERS_UP, Answer, Problem, Solution
from planner.search.solvers.beam import quick_solutions
from planner.search.solvers.cp.search import Clock, Limits, Search
from planner.search.solvers.rivals import best_others

__all__ = ["Clock", "Limits", "solve_with_cpsat"]


def solve_with_cpsat(
    problem: Problem, limits: Limits, *, at_most_us: int = NEVER, runners_up: int = RUNNERS_UP
) -> Answer | None:
    """The best plan with its bound and the runners-up, or none when nothing fits.

    Parameters
    ----------
    at_most_us
        Longest time of interest: plans that take longer count as none.

    Raises
    ------
    SearchStoppedError
        When the time is up before any plan was found, or known not to exist.
    """
    clock = Clock.start(limits)
    floors = Floors.of(problem)
    if floors.root_us > at_most_us:
        return None
    search = Search.of(floors, clock)
    quick = quick_solutions(problem, floors, search.by_feature, limit_us=NEVER if runners_up else at_most_us)
    limit_us = min(at_most_us, floors.ceiling_us)
    known = next((solution for solution in quick.values() if solution.objective_us <= limit_us), None)
    found = search.best(known, limit_us)
    if found.solution is None:
        if found.is_proven:
            return None
        raise SearchStoppedError
    best = search.first(found.solution) if found.is_proven else found.solution

    def best_of(pools: Pools, own: Solution | None, within_us: int) -> Solution | None:
        return None if clock.is_late else replace(search, pools=pools).best(own, within_us).solution

    others = best_others(
        floors,
        quick,
        best_of,
        beside=best.placement,
        least_us=found.bound_us,
        at_most_us=limit_us,
        count=runners_up,
    )
    return Answer(
        solution=best,
        bound_us=min(found.bound_us, best.objective_us),
        runners_up=tuple(
            each
            if each == quick.get(each.placement)
            else replace(search, pools=Pools.of_placement(floors, each.placement)).first(each)
            for each in others
        ),
    )
