"""The least microseconds of all calls together: what the written order of plans puts after devices."""

from dataclasses import dataclass

import numpy as np

from planner.search.arrays import Integers
from planner.search.bounds.floors import NEVER, Floors, falling


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """What is known of the first of equally good plans."""

    devices: int
    """It takes just as many."""
    busy_us: int
    """All its calls together take no longer."""


@dataclass(frozen=True, kw_only=True)
class Busy:
    """The least that each role's calls take together."""

    floors: Floors
    at_slot: Integers
    """Shape (roles, slots); `NEVER` where the role has no option."""

    @classmethod
    def of(cls, floors: Floors) -> "Busy":
        """That of all options."""
        problem, slots = floors.problem, floors.resources.slots
        at_slot = np.full((len(problem.roles), len(slots)), NEVER, dtype=np.int64)
        for number, role in enumerate(problem.roles):
            for at, slot in enumerate(slots):
                if slot in problem.options[role]:
                    at_slot[number, at] = problem.options[role][slot].call_us.sum(axis=1).min()
        return cls(floors=floors, at_slot=at_slot)

    def outside_us(self, roles: int, devices: int) -> Integers:
        """What the roles outside a pool take at least, each alone on what the pool leaves of so many devices.

        Parameters
        ----------
        roles
            Bit set of the pool's roles.
        devices
            Of all pools together.

        Returns
        -------
        By the pool's slot, shape (slots,).
        """
        problem, resources = self.floors.problem, self.floors.resources
        taken = np.array([slot.devices for slot in resources.slots], dtype=np.int64)
        left = resources.affordable(resources.there - resources.taken)
        left = np.maximum(np.minimum(left, (devices - taken)[:, None]), 0)
        total = np.zeros(len(taken), dtype=np.int64)
        for number, at_slot in enumerate(self.at_slot):
            if not roles >> number & 1:
                tables = falling(at_slot[:, None], problem, resources)
                alone = [table[left[:, pool], 0] for pool, table in enumerate(tables)]
                total = np.minimum(total + np.minimum.reduce(alone), NEVER)
        return total
