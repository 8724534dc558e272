"""Lower bounds: what a role, a pool or an option takes at least, whatever the rest of the plan is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from planner.search.allocation import Slot
from planner.search.dominance import Integers
from planner.search.problem import Problem

NEVER = 2**50
"""Microseconds of what is impossible (35 years)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """The least microseconds of each role in each stage, by the devices that it may take."""

    roles: tuple[str, ...]
    node_pools: tuple[str, ...]
    by_devices: tuple[tuple[Integers, ...], ...]
    """By role and node pool; shape (devices of the node pool + 1, stages), falling along the devices."""
    at_slot: Mapping[str, Mapping[Slot, Integers]]
    """By role and slot, shape (stages,)."""
    ceiling_us: int
    """More than any plan costs."""

    @classmethod
    def of(cls, problem: Problem) -> "Floors":
        at_slot = {
            role: {slot: problem.stage_us(role, slot).min(axis=0) for slot in problem.options[role]}
            for role in problem.roles
        }
        return cls(
            roles=problem.roles,
            node_pools=tuple(problem.capacities),
            by_devices=tuple(
                tuple(_falling(at_slot[role], name, problem) for name in problem.capacities)
                for role in problem.roles
            ),
            at_slot=at_slot,
            ceiling_us=sum(_slowest(problem, role) for role in problem.roles),
        )

    @property
    def root_us(self) -> int:
        """What any plan costs at least."""
        devices = [len(table) - 1 for table in self.by_devices[0]]
        return int(self.of_missing(0, np.array([devices], dtype=np.int64)).sum())

    def of_missing(self, placed: int, left: Integers) -> Integers:
        """Least stages of the roles not placed, each alone on the devices left.

        Parameters
        ----------
        placed
            Bit set of the roles that are placed.
        left
            Free devices, shape (plans, node pools).
        """
        floor = np.zeros((len(left), self.by_devices[0][0].shape[1]), dtype=np.int64)
        for index, by_node_pool in enumerate(self.by_devices):
            if not placed >> index & 1:
                alone = [table[left[:, pool]] for pool, table in enumerate(by_node_pool)]
                floor = np.maximum(floor, np.min(alone, axis=0))
        return floor


def _slowest(problem: Problem, role: str) -> int:
    tables = problem.options[role].values()
    return max((int(table.call_us.sum(axis=1).max()) for table in tables), default=0)


def _falling(at_slot: Mapping[Slot, Integers], node_pool: str, problem: Problem) -> Integers:
    table = np.full((problem.capacities[node_pool] + 1, problem.stages), NEVER, dtype=np.int64)
    for slot, least in at_slot.items():
        if slot.node_pool == node_pool:
            table[slot.devices] = least
    return np.minimum.accumulate(table, axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Pools and options that a plan of at most some cost may contain."""

    pools: tuple[tuple[tuple[str, ...], Slot], ...]
    """Sets of roles and their slots."""
    floor_us: tuple[Integers, ...]
    """Least stages of each pool, shape (stages,)."""
    rows: Mapping[tuple[str, Slot], Integers]
    """Numbers of each role's options on each slot."""


def candidates(problem: Problem, floors: Floors, limit_us: int) -> Candidates:
    """Drop every pool and option that only plans above a limit contain.

    A plan with a certain pool takes in each stage at least the pool's seconds, and at least those of any role
    outside it, alone on the fastest of the slots that the pool leaves. The pool's seconds are the sum of its
    roles', each at least its fastest option's; for an option of one of them, that option's. An option is
    dropped when the sum of these over the stages exceeds the limit with every set of roles around it.
    """
    pools: list[tuple[tuple[str, ...], Slot]] = []
    floor_us: list[Integers] = []
    useful: dict[tuple[str, Slot], NDArray[np.bool_]] = {}
    for roles, slot in _pools(problem):
        own = sum((floors.at_slot[role][slot] for role in roles), np.zeros(problem.stages, dtype=np.int64))
        outside = _outside(problem, floors, roles, slot)
        if int(np.maximum(own, outside).sum()) > limit_us:
            continue
        pools.append((roles, slot))
        floor_us.append(own)
        for role in roles:
            stage_us = problem.stage_us(role, slot)
            raised = np.maximum(own - floors.at_slot[role][slot] + stage_us, outside)
            within = raised.sum(axis=1) <= limit_us
            useful[role, slot] = useful.get((role, slot), np.zeros(len(within), dtype=bool)) | within
    return Candidates(
        pools=tuple(pools),
        floor_us=tuple(floor_us),
        rows={key: np.flatnonzero(within) for key, within in useful.items()},
    )


def _pools(problem: Problem) -> Iterator[tuple[tuple[str, ...], Slot]]:
    for size in range(1, len(problem.roles) + 1):
        for roles in combinations(problem.roles, size):
            if problem.may_share(roles):
                yield from ((roles, slot) for slot in problem.slots(roles))


def _outside(problem: Problem, floors: Floors, roles: tuple[str, ...], slot: Slot) -> Integers:
    placed = sum(1 << problem.roles.index(role) for role in roles)
    left = [
        devices - (slot.devices if name == slot.node_pool else 0)
        for name, devices in problem.capacities.items()
    ]
    return floors.of_missing(placed, np.array([left], dtype=np.int64)).reshape(-1)
