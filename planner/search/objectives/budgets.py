"""What all pools together may take: prices, the sums that plans can reach, and a problem under a limit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from planner.search.arrays import Integers
from planner.search.problem import Budget, Problem, Solution


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Whole units per device of each node pool: 1 to count devices, micro-dollars an hour to count money."""

    problem: Problem
    of: Mapping[str, int]

    def total(self, solution: Solution) -> int:
        """What a plan's pools take together."""
        return sum(pool.slot.devices * self.of[pool.slot.node_pool] for pool in solution.pools)

    def reachable(self) -> Integers:
        """Totals that plans can have and some that they cannot, rising."""
        totals = np.zeros(1, dtype=np.int64)
        for node_pool in self.problem.capacities:
            taken = self._device_sums(node_pool) * self.of[node_pool]
            totals = np.unique(np.add.outer(totals, taken))
        return totals[totals > 0]

    def _device_sums(self, node_pool: str) -> Integers:
        """Device counts that pools of one node pool can add up to, 0 included."""
        tables = self.problem.options.values()
        sizes = sorted({slot.devices for table in tables for slot in table if slot.node_pool == node_pool})
        capacity = self.problem.capacities[node_pool]
        reached = np.zeros(capacity + 1, dtype=bool)
        reached[0] = True
        for _ in self.problem.roles:
            before = reached.copy()
            for size in sizes:
                reached[size:] |= before[: capacity + 1 - size]
        return np.flatnonzero(reached)

    def under(self, limit: int) -> Problem:
        """The problem whose plans' totals are at most a limit.

        Every node pool is cut to what the limit buys of it alone; where those together cost no more, as with
        a single node pool, nothing else is needed.
        """
        capacities = {
            name: min(devices, limit // self.of[name]) for name, devices in self.problem.capacities.items()
        }
        options = {
            role: MappingProxyType(
                {slot: table for slot, table in tables.items() if slot.devices <= capacities[slot.node_pool]}
            )
            for role, tables in self.problem.options.items()
        }
        everything = sum(devices * self.of[name] for name, devices in capacities.items())
        return replace(
            self.problem,
            capacities=MappingProxyType(capacities),
            options=MappingProxyType(options),
            budget=None if everything <= limit else Budget(price=self.of, limit=limit),
        )

    def work(self, problem: Problem) -> int:
        """A floor of total times microseconds of any plan of a problem.

        A pool is busy for the sum of its calls in either time model, so a plan takes at least as long as any
        of its pools is busy. Price times devices times busy microseconds, added up over the pools, is
        therefore at most the plan's total times its microseconds; each role adds at least its cheapest.
        """
        return sum(
            min(
                self.of[slot.node_pool] * slot.devices * int(table.call_us.sum(axis=1).min())
                for slot, table in problem.options[role].items()
            )
            for role in problem.roles
        )


def device_prices(problem: Problem) -> Prices:
    """One unit per device, whatever device it is."""
    return Prices(problem=problem, of=MappingProxyType(dict.fromkeys(problem.capacities, 1)))
