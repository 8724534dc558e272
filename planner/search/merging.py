"""Plans made by adding one pool at a time, many at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.search.dominance import Integers
from planner.search.floors import Booleans, Floors, Pools, members
from planner.search.fronts import Front, Fronts
from planner.search.problem import PoolChoice

MOST_AT_ONCE = 2**20
"""Partial plans made in one piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Every way to add a pool of certain roles, one per row."""

    fronts: tuple[Front, ...]
    front: Integers
    """Number of the front, shape (ways,)."""
    row: Integers
    """Row in that front, shape (ways,)."""
    taken: Integers
    """Shape (ways, resources)."""
    us: Integers
    """Shape (ways, features)."""

    def take(self, ways: Booleans) -> "Ways":
        """Some of the ways."""
        return Ways(
            fronts=self.fronts,
            front=self.front[ways],
            row=self.row[ways],
            taken=self.taken[ways],
            us=self.us[ways],
        )

    def choice(self, way: int) -> PoolChoice:
        """The pool that a way adds."""
        return self.fronts[int(self.front[way])].choice(int(self.row[way]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partials:
    """Partial plans that place the same roles."""

    sets: Integers
    """Roles of the pool whose first role is the one at this position, else 0; shape (plans, roles)."""
    ways: Integers
    """Which of their ways, shape (plans, roles)."""
    left: Integers
    """Shape (plans, resources)."""
    us: Integers
    """Shape (plans, features)."""

    def __len__(self) -> int:
        return len(self.us)

    def take(self, plans: Integers) -> "Partials":
        """Some of the plans."""
        return Partials(
            sets=self.sets[plans], ways=self.ways[plans], left=self.left[plans], us=self.us[plans]
        )

    @classmethod
    def joined(cls, parts: Sequence["Partials"]) -> "Partials":
        """All of them in one."""
        return cls(
            sets=np.concatenate([part.sets for part in parts]),
            ways=np.concatenate([part.ways for part in parts]),
            left=np.concatenate([part.left for part in parts]),
            us=np.concatenate([part.us for part in parts]),
        )

    def choices(self, plan: int, ways: Mapping[int, Ways]) -> list[PoolChoice]:
        """The pools of one plan."""
        both = zip(self.sets[plan].tolist(), self.ways[plan].tolist(), strict=True)
        return [ways[roles].choice(way) for roles, way in both if roles]


Keep = Callable[[int, Partials], Partials]
"""Which partial plans with so many roles placed (a bit set) go on."""


def ways_to_add(
    floors: Floors, pools: Pools, allowed: Booleans, fronts: Fronts, *, limit_us: int | None = None
) -> dict[int, Ways]:
    """By set of roles, the combinations on its allowed slots, without those that only worse plans contain."""
    found: dict[int, Ways] = {}
    for roles in np.flatnonzero(allowed.any(axis=1)).tolist():
        slots = np.flatnonzero(allowed[roles])
        made = tuple(fronts.of(members(floors.problem, roles), floors.resources.slots[at]) for at in slots)
        sizes = [len(front) for front in made]
        ways = Ways(
            fronts=made,
            front=np.repeat(np.arange(len(made)), sizes),
            row=np.concatenate([np.arange(size) for size in sizes]),
            taken=np.repeat(floors.resources.taken[slots], sizes, axis=0),
            us=np.concatenate([combined_us(floors, front) for front in made]),
        )
        if limit_us is not None:
            outside = np.repeat(pools.outside_us[roles, slots], sizes, axis=0)
            ways = ways.take(floors.features.bound_us(np.maximum(ways.us, outside)) <= limit_us)
        if len(ways.row):
            found[roles] = ways
    return found


def combined_us(floors: Floors, front: Front) -> Integers:
    """What each combination takes of the features of the floors, shape (rows, features)."""
    if front.us.shape[1] == floors.features.count and floors.features.problem.time_model == "stage":
        return front.us
    total = np.zeros((len(front), floors.features.count), dtype=np.int64)
    for role, rows in zip(front.roles, front.rows.T, strict=True):
        total += floors.features.us(role, front.slot)[rows]
    return total


def merged(floors: Floors, ways: Mapping[int, Ways], keep: Keep) -> Partials:
    """All complete plans that are reached when pools are always added with the first role not yet placed."""
    count = len(floors.problem.roles)
    start = Partials(
        sets=np.zeros((1, count), dtype=np.int64),
        ways=np.zeros((1, count), dtype=np.int64),
        left=floors.resources.there[None],
        us=np.zeros((1, floors.features.count), dtype=np.int64),
    )
    reached: dict[int, list[Partials]] = {0: [start]}
    for placed in range((1 << count) - 1):
        if placed in reached:
            partials = keep(placed, Partials.joined(reached.pop(placed)))
            for roles, extended in _extensions(partials, placed, ways, keep):
                reached.setdefault(placed | roles, []).append(extended)
    return Partials.joined(reached.get((1 << count) - 1, [start.take(np.zeros(0, dtype=np.int64))]))


def _extensions(
    partials: Partials, placed: int, ways: Mapping[int, Ways], keep: Keep
) -> Iterator[tuple[int, Partials]]:
    """Each partial plan with each pool that what is left allows, by the roles added."""
    missing = ~placed & (placed + 1)
    for roles, added in ways.items():
        if roles & -roles == missing and not roles & placed:
            step = max(1, MOST_AT_ONCE // len(added.row))
            for first in range(0, len(partials), step):
                piece = partials.take(np.arange(first, min(len(partials), first + step)))
                extended = _extended(piece, roles, added)
                if len(extended):
                    yield roles, keep(placed | roles, extended)


def _extended(partials: Partials, roles: int, added: Ways) -> Partials:
    left = partials.left[:, None] - added.taken
    plan, way = np.nonzero((left >= 0).all(axis=2))
    sets, chosen = partials.sets[plan], partials.ways[plan]
    first = (roles & -roles).bit_length() - 1
    sets[:, first], chosen[:, first] = roles, way
    return Partials(
        sets=sets, ways=chosen, left=left[plan, way], us=np.maximum(partials.us[plan], added.us[way])
    )
