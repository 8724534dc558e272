"""What pools take away from each other: devices of the node pools, and the budget."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.search.arrays import Integers
from planner.search.problem import Problem
from planner.search.problem.allocation import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The slots of a problem and what each of them takes."""

    slots: tuple[Slot, ...]
    """Where any role has an option, node pools in their order, device counts rising."""
    taken: Integers
    """Devices of each node pool, and what they cost where there is a budget; shape (slots, resources)."""
    there: Integers
    """Shape (resources,)."""
    prices: Integers
    """Of one device of each node pool; all 0 without a budget. Shape (node pools,)."""

    @classmethod
    def of(cls, problem: Problem) -> "Resources":
        names = list(problem.capacities)
        found = {slot for by_slot in problem.options.values() for slot in by_slot}
        slots = sorted(found, key=lambda slot: (names.index(slot.node_pool), slot.devices))
        budget = problem.budget
        prices = np.array([budget.price[name] if budget else 0 for name in names], dtype=np.int64)
        taken = np.zeros((len(slots), len(names) + (budget is not None)), dtype=np.int64)
        for number, slot in enumerate(slots):
            pool = names.index(slot.node_pool)
            taken[number, pool] = slot.devices
            if budget:
                taken[number, -1] = slot.devices * prices[pool]
        there = [*problem.capacities.values(), *([budget.limit] if budget else [])]
        return cls(slots=tuple(slots), taken=taken, there=np.array(there, dtype=np.int64), prices=prices)

    def affordable(self, left: Integers) -> Integers:
        """Devices of each node pool that one more pool may take of what is left.

        Parameters
        ----------
        left
            Shape (..., resources).

        Returns
        -------
        Shape (..., node pools).
        """
        devices = left[..., : len(self.prices)]
        if left.shape[-1] == len(self.prices):
            return devices
        paid: Integers = left[..., -1:] // np.maximum(self.prices, 1)
        return np.where(self.prices > 0, np.minimum(devices, paid), devices)

    def fit(self, slots: Iterable[Slot]) -> bool:
        """Whether pools on these slots can be had together."""
        numbers = [self.slots.index(slot) for slot in slots]
        return bool((self.taken[numbers].sum(axis=0) <= self.there).all())
