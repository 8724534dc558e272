"""Lower bounds: what a role, a pool or an option takes at least, whatever the rest of the plan is."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.domain.placement import Placement
from planner.search.arrays import Booleans, Integers
from planner.search.bounds.features import Features
from planner.search.bounds.resources import Resources
from planner.search.problem import Problem

NEVER = 2**50
"""Microseconds of what is impossible (35 years)."""


@dataclass(frozen=True, kw_only=True)
class Floors:
    """The least microseconds of each role in each feature, by slot and by the devices that it may take."""

    problem: Problem
    features: Features
    resources: Resources
    at_slot: Integers
    """Shape (roles, slots, features); `NEVER` where the role has no option."""
    by_devices: tuple[tuple[Integers, ...], ...]
    """By role and node pool; shape (devices of the node pool + 1, features), falling along the devices."""
    ceiling_us: int
    """More than any plan costs."""

    @classmethod
    def of(cls, problem: Problem) -> "Floors":
        features, resources = Features.of(problem), Resources.of(problem)
        at_slot = np.full((len(problem.roles), len(resources.slots), features.count), NEVER, dtype=np.int64)
        for number, role in enumerate(problem.roles):
            for at, slot in enumerate(resources.slots):
                if slot in problem.options[role]:
                    at_slot[number, at] = features.us(role, slot).min(axis=0)
        return cls(
            problem=problem,
            features=features,
            resources=resources,
            at_slot=at_slot,
            by_devices=tuple(falling(least, problem, resources) for least in at_slot),
            ceiling_us=_ceiling_us(problem),
        )

    @property
    def root_us(self) -> int:
        """What any plan costs at least."""
        return int(self.features.bound_us(self.of_missing(0, self.resources.there[None]))[0])

    @cached_property
    def pools(self) -> "Pools":
        """What plans with each pool cost at least."""
        return Pools.of(self)

    def of_missing(self, placed: int, left: Integers) -> Integers:
        """What the roles not placed take at least, each alone on what is left.

        Parameters
        ----------
        placed
            Bit set of the roles that are placed.
        left
            Shape (plans, resources).

        Returns
        -------
        Shape (plans, features).
        """
        floor = np.zeros((len(left), self.features.count), dtype=np.int64)
        devices = np.maximum(self.resources.affordable(left), 0)
        for index, by_node_pool in enumerate(self.by_devices):
            if not placed >> index & 1:
                alone = [table[devices[:, pool]] for pool, table in enumerate(by_node_pool)]
                floor = np.maximum(floor, np.minimum.reduce(alone))
        return floor


def _ceiling_us(problem: Problem) -> int:
    """All calls one after another at their slowest, with every crossing."""
    slowest = (
        max((int(table.call_us.sum(axis=1).max()) for table in problem.options[role].values()), default=0)
        for role in problem.roles
    )
    return (
        sum(slowest)
        + sum(call.us for call in problem.calls)
        + sum(wait.crossing_us for wait in problem.waits)
    )


def falling(least: Integers, problem: Problem, resources: Resources) -> tuple[Integers, ...]:
    """The least on so many devices or fewer, out of values by slot; one table for each node pool."""
    tables = []
    for name, devices in problem.capacities.items():
        table = np.full((devices + 1, least.shape[1]), NEVER, dtype=np.int64)
        for at, slot in enumerate(resources.slots):
            if slot.node_pool == name:
                table[slot.devices] = least[at]
        tables.append(np.minimum.accumulate(table, axis=0))
    return tuple(tables)


@dataclass(frozen=True, kw_only=True)
class Pools:
    """All pools that may be: sets of roles on slots."""

    own_us: Integers
    """What the fastest options of the set's roles take; shape (sets, slots, features)."""
    outside_us: Integers
    """What the other roles take at least; shape (sets, slots, features)."""
    alive: Booleans
    """Whether the set may form a pool there; shape (sets, slots)."""
    floor_us: Integers
    """What a plan with the pool costs at least; shape (sets, slots)."""

    @classmethod
    def of(cls, floors: Floors) -> "Pools":
        """A set is a bit set of roles; set 0 is none and never alive.

        A plan with a certain pool takes of each feature at least what the pool takes, and at least what any
        role outside it takes, alone on the fastest of the slots that the pool leaves. The pool takes the sum
        of its roles, each at least its fastest option.
        """
        problem, resources = floors.problem, floors.resources
        sets = 1 << len(problem.roles)
        own = np.zeros((sets, *floors.at_slot.shape[1:]), dtype=np.int64)
        outside = np.zeros_like(own)
        left = resources.there - resources.taken
        alive = np.zeros((sets, len(resources.slots)), dtype=bool)
        for roles in range(1, sets):
            lowest = roles & -roles
            own[roles] = own[roles ^ lowest] + floors.at_slot[lowest.bit_length() - 1]
            outside[roles] = floors.of_missing(roles, left)
            alive[roles] = problem.may_share(members(problem, roles))
        alive &= (own < NEVER).all(axis=2) & (left >= 0).all(axis=1) & _may_fit(problem, resources)
        floor = floors.features.bound_us(np.maximum(own, outside))
        return cls(own_us=own, outside_us=outside, alive=alive, floor_us=floor)

    @classmethod
    def of_placement(cls, floors: Floors, placement: Placement) -> "Pools":
        """Only the pools of one placement, each beside the other ones instead of single roles."""
        every = floors.pools
        blocks = [bit_set(floors.problem, roles) for roles in placement]
        takes = [np.where(every.alive[block][:, None], every.own_us[block], NEVER) for block in blocks]
        tables = [falling(least, floors.problem, floors.resources) for least in takes]
        left = floors.resources.there - floors.resources.taken
        devices = np.maximum(floors.resources.affordable(left), 0)
        alive, outside = np.zeros_like(every.alive), every.outside_us.copy()
        for block in blocks:
            alive[block] = every.alive[block]
            for other, table in zip(blocks, tables, strict=True):
                if other != block:
                    alone = [by_devices[devices[:, pool]] for pool, by_devices in enumerate(table)]
                    outside[block] = np.maximum(outside[block], np.minimum.reduce(alone))
        floor = floors.features.bound_us(np.maximum(every.own_us, outside))
        return cls(own_us=every.own_us, outside_us=outside, alive=alive, floor_us=floor)

    @cached_property
    def least_us(self) -> int:
        """What a plan made of these pools costs at least: each role is in one of them."""
        floor = np.where(self.alive, self.floor_us, NEVER).min(axis=1)
        sets = np.arange(len(floor))
        count = (len(floor) - 1).bit_length()
        return max(int(floor[(sets >> number & 1).astype(bool)].min()) for number in range(count))

    def fewest_devices(self, floors: Floors, limit_us: int) -> tuple[Integers, int]:
        """The fewest devices that plans within a limit may take.

        Returns
        -------
        With each pool, shape (sets, slots), `NEVER` with a pool that is not within the limit; and at all.
        """
        devices = np.array([slot.devices for slot in floors.resources.slots], dtype=np.int64)
        own = np.where(self.within(limit_us), devices, NEVER)
        alone = own.min(axis=1).tolist()
        least = [0] + [NEVER] * (len(alone) - 1)
        for placed in range(1, len(alone)):
            roles = placed
            while roles:
                if roles & placed & -placed:
                    least[placed] = min(least[placed], alone[roles] + least[placed ^ roles])
                roles = (roles - 1) & placed
        others = np.array(least[::-1], dtype=np.int64)
        return np.minimum(own + others[:, None], NEVER), least[-1]

    def within(self, limit_us: int) -> Booleans:
        """Which pools a plan of at most this cost may contain; shape (sets, slots)."""
        within: Booleans = self.alive & (self.floor_us <= limit_us)
        return within


def bit_set(problem: Problem, roles: Collection[str]) -> int:
    """The bit set of some roles."""
    return sum(1 << number for number, role in enumerate(problem.roles) if role in roles)


def members(problem: Problem, roles: int) -> tuple[str, ...]:
    """The roles of a bit set."""
    return tuple(role for number, role in enumerate(problem.roles) if roles >> number & 1)


def _may_fit(problem: Problem, resources: Resources) -> Booleans:
    """Whether the least bytes of the set's roles fit a device; shape (sets, slots)."""
    count = len(resources.slots)
    least = np.zeros((3, len(problem.roles), count), dtype=np.int64)
    for number, role in enumerate(problem.roles):
        for at, slot in enumerate(resources.slots):
            table = problem.options[role].get(slot)
            if table is not None:
                least[:, number, at] = table.persistent.min(), table.transient.min(), table.host.min()
    memory = np.array([problem.memory[slot.node_pool] for slot in resources.slots], dtype=np.int64)
    host_memory = np.array([problem.host_memory[slot.node_pool] for slot in resources.slots], dtype=np.int64)
    fits = np.ones((1 << len(problem.roles), count), dtype=bool)
    for roles in range(1, len(fits)):
        chosen = [number for number in range(len(problem.roles)) if roles >> number & 1]
        persistent, transient, host = least[:, chosen]
        fits[roles] = (persistent.sum(axis=0) + transient.max(axis=0) <= memory) & (
            host.sum(axis=0) <= host_memory
        )
    return fits
