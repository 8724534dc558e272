"""Random changes of a plan, as simulated annealing proposes them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.search.arrays import Integers
from planner.search.problem import PoolChoice, Problem
from planner.search.problem.allocation import Slot

Pools = tuple[PoolChoice, ...]
REPAIRS = 12
"""Times that each role of a pool may go to a smaller option."""
ATTEMPTS = 200
"""Random plans tried for one to start from."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one role's options on one slot, and the options by rising microseconds of all calls."""

    persistent: Integers
    transient: Integers
    host: Integers
    fastest: Integers


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Changes of one problem's plans; each gives none where what it drew is impossible."""

    problem: Problem
    random: random.Random
    sizes: dict[tuple[str, Slot], Sizes] = field(default_factory=dict)
    shared: dict[tuple[str, ...], tuple[Slot, ...]] = field(default_factory=dict)

    def start(self) -> Pools | None:
        """Some plan: roles thrown into pools, pools onto slots; where none fits, all roles on one slot."""
        for _ in range(ATTEMPTS):
            count = self.random.randint(1, len(self.problem.roles))
            sets: dict[int, list[str]] = {}
            for role in self.problem.roles:
                sets.setdefault(self.random.randrange(count), []).append(role)
            pools = self.placed((), list(sets.values()))
            if pools is not None:
                return pools
        together = (self.with_pool((), self.problem.roles, slot) for slot in self.slots(self.problem.roles))
        return next((pools for pools in together if pools is not None), None)

    def change(self, pools: Pools) -> Pools | None:
        """A plan one random change away."""
        draw = self.random.random()
        if draw < 0.5:
            return self.change_option(pools)
        if draw < 0.75:
            return self.resize(pools)
        if draw < 0.9:
            return self.move_role(pools)
        return self.unite(pools) if draw < 0.95 else self.divide(pools)

    def change_option(self, pools: Pools) -> Pools | None:
        """A role takes another option of its slot."""
        pool = self.random.choice(pools)
        place = self.random.randrange(len(pool.roles))
        row = self.random.randrange(len(self.sizes_of(pool.roles[place], pool.slot).fastest))
        changed = PoolChoice(
            roles=pool.roles, slot=pool.slot, rows=(*pool.rows[:place], row, *pool.rows[place + 1 :])
        )
        return (*_without(pools, pool), changed) if self.holds(changed) else None

    def resize(self, pools: Pools) -> Pools | None:
        """A pool goes over to the next smaller or greater slot, or to any."""
        pool = self.random.choice(pools)
        slots = self.slots(pool.roles)
        number = slots.index(pool.slot) + self.random.choice((-1, 1))
        if self.random.random() < 0.5:
            number = self.random.randrange(len(slots))
        if not 0 <= number < len(slots):
            return None
        return self.with_pool(_without(pools, pool), pool.roles, slots[number])

    def move_role(self, pools: Pools) -> Pools | None:
        """A role leaves its pool for another one, or for one of its own."""
        role = self.random.choice(self.problem.roles)
        home = next(pool for pool in pools if role in pool.roles)
        others = _without(pools, home)
        left = tuple(other for other in home.roles if other != role)
        if left:
            kept = self.with_pool(others, left, home.slot)
            if kept is None:
                return None
        else:
            kept = others
        target = self.random.randrange(len(others) + 1)
        if target == len(others):
            return self.placed(kept, [[role]])
        joined = others[target]
        return self.with_pool(_without(kept, joined), (*joined.roles, role), joined.slot)

    def unite(self, pools: Pools) -> Pools | None:
        """Two pools become one, on the devices of one of them, of both, or on any."""
        if len(pools) < 2:
            return None
        one, other = self.random.sample(pools, 2)
        roles = (*one.roles, *other.roles)
        kept = _without(_without(pools, one), other)
        both = Slot(one.slot.node_pool, one.slot.devices + other.slot.devices)
        slot = self.random.choice((one.slot, both, None))
        return self.placed(kept, [list(roles)]) if slot is None else self.with_pool(kept, roles, slot)

    def divide(self, pools: Pools) -> Pools | None:
        """A pool's roles are split in two sets, each on any slot."""
        pool = self.random.choice(pools)
        if len(pool.roles) < 2:
            return None
        roles = list(pool.roles)
        self.random.shuffle(roles)
        cut = self.random.randrange(1, len(roles))
        return self.placed(_without(pools, pool), [roles[:cut], roles[cut:]])

    def placed(self, pools: Pools, sets: Sequence[Sequence[str]]) -> Pools | None:
        """More pools, each on a slot drawn from those that the devices left allow."""
        for roles in sets:
            slots = [slot for slot in self.slots(roles) if self.affords(pools, slot)]
            grown = self.with_pool(pools, roles, self.random.choice(slots)) if slots else None
            if grown is None:
                return None
            pools = grown
        return pools

    def with_pool(self, pools: Pools, roles: Sequence[str], slot: Slot) -> Pools | None:
        """One more pool, its roles as fast as fits."""
        ordered = tuple(role for role in self.problem.roles if role in roles)
        if not self.problem.may_share(ordered) or not self.affords(pools, slot):
            return None
        if not all(slot in self.problem.options[role] for role in ordered):
            return None
        pool = self.filled(ordered, slot)
        return None if pool is None else (*pools, pool)

    def filled(self, roles: tuple[str, ...], slot: Slot) -> PoolChoice | None:
        """Every role with its fastest option; while these do not fit, roles drawn at random go to smaller."""
        tables = [self.sizes_of(role, slot) for role in roles]
        rows = [int(table.fastest[0]) for table in tables]
        for _ in range(REPAIRS * len(roles)):
            pool = PoolChoice(roles=roles, slot=slot, rows=tuple(rows))
            if self.holds(pool):
                return pool
            place = self.random.randrange(len(roles))
            smaller = self.smaller(tables, rows, place, slot)
            if len(smaller):
                is_greedy = self.random.random() < 0.5
                rows[place] = int(smaller[0] if is_greedy else self.random.choice(smaller))
        return None

    def smaller(self, tables: Sequence[Sizes], rows: Sequence[int], place: int, slot: Slot) -> Integers:
        """A role's options by rising seconds with which its pool exceeds a device by less.

        Where none is, as where two roles peak alike, those of a smaller peak with which it exceeds none by
        more.
        """
        table, node_pool = tables[place], slot.node_pool
        others = [
            (other, row) for at, (other, row) in enumerate(zip(tables, rows, strict=True)) if at != place
        ]
        persistent = sum(int(other.persistent[row]) for other, row in others) + table.persistent
        transient = max((int(other.transient[row]) for other, row in others), default=0)
        host = sum(int(other.host[row]) for other, row in others) + table.host
        device_excess = persistent + np.maximum(table.transient, transient) - self.problem.memory[node_pool]
        excess = np.maximum(device_excess, 0) + np.maximum(host - self.problem.host_memory[node_pool], 0)
        now = excess[rows[place]]
        less = excess < now
        if not less.any():
            less = (excess <= now) & (table.transient < table.transient[rows[place]])
        useful: Integers = table.fastest[less[table.fastest]]
        return useful

    def holds(self, pool: PoolChoice) -> bool:
        """Whether a pool's roles fit a device and its part of the node."""
        tables = [self.sizes_of(role, pool.slot) for role in pool.roles]
        both = list(zip(tables, pool.rows, strict=True))
        needed = sum(int(table.persistent[row]) for table, row in both)
        needed += max(int(table.transient[row]) for table, row in both)
        host = sum(int(table.host[row]) for table, row in both)
        node_pool = pool.slot.node_pool
        return needed <= self.problem.memory[node_pool] and host <= self.problem.host_memory[node_pool]

    def affords(self, pools: Pools, slot: Slot) -> bool:
        """Whether the devices and the budget allow one more pool."""
        slots = [slot, *(pool.slot for pool in pools)]
        taken = sum(each.devices for each in slots if each.node_pool == slot.node_pool)
        budget = self.problem.budget
        return taken <= self.problem.capacities[slot.node_pool] and (
            budget is None
            or sum(each.devices * budget.price[each.node_pool] for each in slots) <= budget.limit
        )

    def slots(self, roles: Sequence[str]) -> tuple[Slot, ...]:
        """Slots where each of the roles has an option."""
        key = tuple(sorted(roles))
        if key not in self.shared:
            self.shared[key] = self.problem.slots(key)
        return self.shared[key]

    def sizes_of(self, role: str, slot: Slot) -> Sizes:
        """The role's options on a slot."""
        if (role, slot) not in self.sizes:
            table = self.problem.options[role][slot]
            self.sizes[role, slot] = Sizes(
                persistent=table.persistent,
                transient=table.transient,
                host=table.host,
                fastest=np.argsort(table.call_us.sum(axis=1), kind="stable"),
            )
        return self.sizes[role, slot]


def _without(pools: Pools, pool: PoolChoice) -> Pools:
    return tuple(other for other in pools if other is not pool)
