"""Plans made by adding one pool at a time, many at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.search.arrays import Integers
from planner.search.bounds.floors import Floors
from planner.search.bounds.front import Front
from planner.search.problem import PoolChoice
from planner.search.problem.allocation import Slot

MOST_AT_ONCE = 2**20
"""Partial plans made in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partials:
    """Partial plans that place the same roles."""

    sets: Integers
    """Roles of the pool whose first role is the one at this position, else 0; shape (plans, roles)."""
    rows: Integers
    """Row of that pool in its front, shape (plans, roles)."""
    left: Integers
    """Shape (plans, resources)."""
    us: Integers
    """Shape (plans, features)."""

    def __len__(self) -> int:
        return len(self.us)

    def take(self, plans: Integers) -> "Partials":
        """Some of the plans."""
        return Partials(
            sets=self.sets[plans], rows=self.rows[plans], left=self.left[plans], us=self.us[plans]
        )

    @classmethod
    def joined(cls, parts: Sequence["Partials"]) -> "Partials":
        """All of them in one."""
        return cls(
            sets=np.concatenate([part.sets for part in parts]),
            rows=np.concatenate([part.rows for part in parts]),
            left=np.concatenate([part.left for part in parts]),
            us=np.concatenate([part.us for part in parts]),
        )

    def choices(self, plan: int, fronts: Mapping[int, Front], slots: Sequence[Slot]) -> list[PoolChoice]:
        """The pools of one plan."""
        both = zip(self.sets[plan].tolist(), self.rows[plan].tolist(), strict=True)
        return [fronts[roles].choice(row, slots) for roles, row in both if roles]


Keep = Callable[[int, Partials], Partials]
"""Which partial plans with so many roles placed (a bit set) go on."""


def merged(floors: Floors, fronts: Mapping[int, Front], keep: Keep) -> Partials:
    """All complete plans that are reached when pools are always added with the first role not yet placed."""
    count = len(floors.problem.roles)
    start = Partials(
        sets=np.zeros((1, count), dtype=np.int64),
        rows=np.zeros((1, count), dtype=np.int64),
        left=floors.resources.there[None],
        us=np.zeros((1, floors.features.count), dtype=np.int64),
    )
    reached: dict[int, list[Partials]] = {0: [start]}
    for placed in range((1 << count) - 1):
        if placed in reached:
            partials = keep(placed, Partials.joined(reached.pop(placed)))
            for roles, extended in _extensions(floors, partials, placed, fronts, keep):
                reached.setdefault(placed | roles, []).append(extended)
    return Partials.joined(reached.get((1 << count) - 1, [start.take(np.zeros(0, dtype=np.int64))]))


def _extensions(
    floors: Floors, partials: Partials, placed: int, fronts: Mapping[int, Front], keep: Keep
) -> Iterator[tuple[int, Partials]]:
    """Each partial plan with each pool that what is left allows, by the roles added."""
    missing = ~placed & (placed + 1)
    for roles, front in fronts.items():
        if roles & -roles == missing and not roles & placed and len(front):
            step = max(1, MOST_AT_ONCE // len(front))
            for first in range(0, len(partials), step):
                piece = partials.take(np.arange(first, min(len(partials), first + step)))
                extended = _extended(piece, roles, front, floors.resources.taken[front.at])
                if len(extended):
                    yield roles, keep(placed | roles, extended)


def _extended(partials: Partials, roles: int, front: Front, taken: Integers) -> Partials:
    left = partials.left[:, None] - taken
    plan, row = np.nonzero((left >= 0).all(axis=2))
    sets, rows = partials.sets[plan], partials.rows[plan]
    first = (roles & -roles).bit_length() - 1
    sets[:, first], rows[:, first] = roles, row
    return Partials(
        sets=sets, rows=rows, left=left[plan, row], us=np.maximum(partials.us[plan], front.us[row])
    )
