"""An exact checker without a solver: dynamic programming over subsets of the roles.

Pools are added one at a time, always with the first role not yet placed, so that every plan is met once: 3^R
merges of sets of roles. Of partial plans with the same roles placed only the undominated ones go on: none
that takes no less of any feature and leaves no more of any resource than another one. Partial plans that must
cost more than a known plan are dropped as well.

Under ``stage`` the best complete plan is the answer. Under ``period`` the features only bound the cost, so
that it is if its exact period is its bound; else the plans of every placement are listed by their bound, with
all combinations that differ in any call, and evaluated one by one until the bound reaches the best period.
"""

from dataclasses import dataclass

import numpy as np

from planner.search.arrays import Integers
from planner.search.bounds.features import Features
from planner.search.bounds.floors import Floors, Pools
from planner.search.bounds.front import Front
from planner.search.bounds.fronts import Fronts
from planner.search.bounds.merging import Keep, Partials, merged
from planner.search.options.dominance import undominated
from planner.search.problem import RUNNERS_UP, Answer, Problem, Solution
from planner.search.schedules.evaluation import evaluate_within
from planner.search.solvers.beam import quick_solutions
from planner.search.solvers.rivals import best_others, rivals


def solve_by_subsets(problem: Problem, *, runners_up: int = RUNNERS_UP) -> Answer | None:
    """The best plan and the runners-up, or none when nothing fits."""
    if not all(problem.options.values()):
        return None
    floors = Floors.of(problem)
    subsets = Subsets.of(floors)
    quick = quick_solutions(problem, floors, subsets.by_feature)
    known = next(iter(quick.values()), None)
    best = subsets.best(floors.pools, known, floors.ceiling_us)
    if best is None:
        return None
    others = best_others(
        floors,
        quick,
        subsets.best,
        beside=best.placement,
        least_us=best.objective_us,
        at_most_us=floors.ceiling_us,
        count=runners_up,
    )
    return Answer(solution=best, bound_us=best.objective_us, runners_up=others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsets:
    """The dynamic programme of one problem, and the combinations made for it so far."""

    floors: Floors
    by_feature: Fronts
    by_call: Fronts

    @classmethod
    def of(cls, floors: Floors) -> "Subsets":
        problem = floors.problem
        return cls(
            floors=floors,
            by_feature=Fronts(floors=floors, compared=floors.features),
            by_call=Fronts(floors=floors, compared=Features.by_call(problem)),
        )

    def best(self, pools: Pools, known: Solution | None, at_most_us: int) -> Solution | None:
        """The best plan made of some pools that takes at most so long, given one or none that does."""
        limit_us = at_most_us if known is None else known.objective_us
        found = self._by_bound(pools, limit_us)
        if found is None:
            return known
        bound_us, least = found
        best = known if least is None or (known is not None and known.objective_us <= bound_us) else least
        if best is not None and best.objective_us <= bound_us:
            return best
        for placement in rivals(self.floors, limit_us):
            beside = Pools.of_placement(self.floors, placement)
            if all(pools.alive[block].any() for block in np.flatnonzero(beside.alive.any(axis=1))):
                best = self._of_placement(beside, best, limit_us)
        return best

    def _by_bound(self, pools: Pools, limit_us: int) -> tuple[int, Solution | None] | None:
        """The least bound of all plans and that plan, if it is within the limit; none when no bound is."""
        fronts = _fronts_within(self.by_feature, pools, limit_us)
        plans = merged(self.floors, fronts, self._undominated_within(limit_us))
        if not len(plans):
            return None
        bounds = self.floors.features.bound_us(plans.us)
        least = int(bounds.argmin())
        slots = self.floors.resources.slots
        solution = evaluate_within(self.floors.problem, plans.choices(least, fronts, slots), limit_us)
        return int(bounds[least]), solution

    def _of_placement(self, pools: Pools, best: Solution | None, limit_us: int) -> Solution | None:
        """The better of a known plan and the best one of one placement."""
        within_us = limit_us if best is None else best.objective_us - 1
        fronts = _fronts_within(self.by_call, pools, within_us)
        plans = merged(self.floors, fronts, self._within(within_us))
        bounds = self.floors.features.bound_us(plans.us)
        for plan in np.argsort(bounds, kind="stable").tolist():
            within_us = limit_us if best is None else best.objective_us - 1
            if bounds[plan] > within_us:
                break
            choices = plans.choices(plan, fronts, self.floors.resources.slots)
            best = evaluate_within(self.floors.problem, choices, within_us) or best
        return best

    def _within(self, limit_us: int) -> Keep:
        def keep(placed: int, partials: Partials) -> Partials:
            raised = np.maximum(partials.us, self.floors.of_missing(placed, partials.left))
            return partials.take(np.flatnonzero(self.floors.features.bound_us(raised) <= limit_us))

        return keep

    def _undominated_within(self, limit_us: int) -> Keep:
        within = self._within(limit_us)

        def keep(placed: int, partials: Partials) -> Partials:
            possible = within(placed, partials)
            return possible.take(undominated(_columns(possible)))

        return keep


def _fronts_within(made: Fronts, pools: Pools, limit_us: int) -> dict[int, Front]:
    sets = np.flatnonzero(pools.within(limit_us).any(axis=1)).tolist()
    return {roles: made.within(roles, pools, limit_us) for roles in sets}


def _columns(partials: Partials) -> Integers:
    return np.concatenate([partials.us, -partials.left], axis=1)
