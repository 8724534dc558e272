"""Simulated annealing over the option tables of the other solvers: a search like ReaL's, to compare with.

ReaL (2406.14088, section 5.2) walks at random through plans, one change at a time, and accepts a worse plan
with a probability that falls with what it loses; it proves nothing. Here a change moves a role, unites or
divides pools, changes a pool's slot or a role's option (`planner.search.solvers.moves`). Plans are compared
by what they take at least (`planner.search.bounds.features`), which under ``stage`` is what they take; one
that is to be the best is costed exactly. Each restart begins at a random plan and cools geometrically, from a
tenth of that plan's time to a millionth.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from planner.search.arrays import Integers
from planner.search.bounds.features import Features
from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.problem.allocation import Slot
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers.moves import Moves, Pools

HOT, COLD = 0.1, 1e-6
"""First and last temperature of a restart, as parts of its first plan's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to search, over all restarts: so many changes or, where given, so many seconds of CPU."""

    restarts: int = 4
    changes: int = 20_000
    seconds: float | None = None


def anneal(problem: Problem, *, seed: int = 0, effort: Effort | None = None) -> Solution | None:
    """The best plan met, or none where no plan was."""
    effort = effort or Effort()
    if not all(problem.options.values()):
        return None
    walk = _Walk(moves=Moves(problem=problem, random=random.Random(seed)), features=Features.of(problem))
    for _ in range(effort.restarts):
        walk.cool(_passing(effort))
    return walk.best


def _passing(effort: Effort) -> Iterator[float]:
    """The part of one restart that is over, change by change."""
    if effort.seconds is None:
        count = effort.changes // effort.restarts
        yield from (number / count for number in range(count))
        return
    start, length = time.process_time(), effort.seconds / effort.restarts
    while (over := (time.process_time() - start) / length) < 1:
        yield over


@dataclass(kw_only=True)
class _Walk:
    """The best plan so far, and what has been costed on the way."""

    moves: Moves
    features: Features
    best: Solution | None = None
    us: dict[tuple[str, Slot], Integers] = field(default_factory=dict)

    def cool(self, passing: Iterator[float]) -> None:
        """One restart."""
        pools = self.moves.start()
        if pools is None:
            return
        floor = start = self.floor(pools)
        self.keep(pools, floor)
        for over in passing:
            changed = self.moves.change(pools)
            if changed is None:
                continue
            temperature = start * HOT * (COLD / HOT) ** over
            changed_floor = self.floor(changed)
            loss = changed_floor - floor
            if loss <= 0 or self.moves.random.random() < math.exp(-loss / temperature):
                pools, floor = changed, changed_floor
                self.keep(pools, floor)

    def keep(self, pools: Pools, floor: int) -> None:
        """Remember the plan if it beats the best one."""
        if self.best is None or floor < self.best.objective_us:
            solution = evaluate(self.moves.problem, pools)
            if self.best is None or solution.objective_us < self.best.objective_us:
                self.best = solution

    def floor(self, pools: Pools) -> int:
        """What a plan takes at least."""
        us = self.pool_us(pools[0])
        for pool in pools[1:]:
            us = np.maximum(us, self.pool_us(pool))
        return int(self.features.bound_us(us))

    def pool_us(self, pool: PoolChoice) -> Integers:
        """What a pool takes of each feature."""
        total = np.zeros(self.features.count, dtype=np.int64)
        for role, row in zip(pool.roles, pool.rows, strict=True):
            if (role, pool.slot) not in self.us:
                self.us[role, pool.slot] = self.features.us(role, pool.slot)
            total += self.us[role, pool.slot][row]
        return total
