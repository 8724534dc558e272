"""Algorithms 1 and 2 of HybridFlow as printed: the baseline.

Where the paper is silent, this is how it is read here.

- The space is the option table of the other solvers, so that plans compare. A layout outside it (one whose
  sizes do not divide the devices, or that does not fit at all) has no cost.
- ``get_min_alloc`` takes the first device count of the enumeration at which a set fits. There its roles start
  from the smallest model-parallel sizes that fit a device alone; while they do not fit together, the role
  with the most persistent bytes goes to its next greater size, first in t, then in p. Where that stops are
  the roles' t_min and p_min.
- ``enum_alloc`` gives sets whole nodes from eight devices on, else single devices: every assignment from the
  minima up that the node pools hold. With several node pools, of which the paper knows none, a set lies
  inside one.
- Allocations of one placement are told apart by ``d_cost``, as printed, whatever the time model; their best
  one, and so the placements, by the problem's.
- ``auto_parallel`` ranks the strategies by the seconds of all the role's calls. The cheapest that leaves room
  for the roles of the set is taken: roles already decided with what they chose, those to come with the least
  they need. The ranking is cached under (role, device count, t_min, p_min); the room is not part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from planner.domain.cluster import Cluster
from planner.domain.placement import Placement, placements
from planner.search.bounds.floors import Floors
from planner.search.bounds.resources import Resources
from planner.search.problem import RUNNERS_UP, Answer, PoolChoice, Problem, Solution
from planner.search.problem.allocation import Slot, enumerate_allocations
from planner.search.schedules.evaluation import evaluate, stage_cost_us

WHOLE_NODES_FROM = 8
"""Devices from which on sets get whole nodes."""

Sizes = tuple[int, int]
"""Least model-parallel sizes of a role: (t_min, p_min)."""


def solve_like_hybridflow(
    problem: Problem, cluster: Cluster, *, runners_up: int = RUNNERS_UP
) -> Answer | None:
    """Algorithm 1: the best mapping that it finds, or none. It proves nothing; its bound is a mere floor."""
    mapper = Mapper(problem=problem, cluster=cluster)
    mappings = [
        mapping
        for placement in placements(problem.roles)
        if all(problem.may_share(roles) for roles in placement)
        and (mapping := mapper.best_mapping(placement)) is not None
    ]
    if not mappings:
        return None
    best, *others = sorted(mappings, key=lambda mapping: mapping.objective_us)
    return Answer(solution=best, bound_us=Floors.of(problem).root_us, runners_up=tuple(others[:runners_up]))


@dataclass(frozen=True, kw_only=True)
class Mapper:
    """One run of Algorithm 1, with its cache."""

    problem: Problem
    cluster: Cluster
    ranked: dict[tuple[str, Slot, Sizes], list[int]] = field(default_factory=dict)
    """Strategies of a role by rising seconds, as numbers in its table."""

    @cached_property
    def resources(self) -> Resources:
        """What allocations take."""
        return Resources.of(self.problem)

    def best_mapping(self, placement: Placement) -> Solution | None:
        """Lines 7 to 20: the cheapest allocation of one placement."""
        minima = [self.minimum(roles) for roles in placement]
        choices = [
            [slot for slot in self.slots(roles) if slot.node_pool in least]
            for roles, least in zip(placement, minima, strict=True)
        ]
        best: tuple[int, list[PoolChoice]] | None = None
        for slots in enumerate_allocations(choices, self.problem.capacities):
            if not self.resources.fit(slots):
                continue
            pools: list[PoolChoice] = []
            for roles, slot, least in zip(placement, slots, minima, strict=True):
                pool = self.auto_parallel(roles, slot, least[slot.node_pool])
                pools += [pool] if pool else []
            if len(pools) == len(placement):
                cost = stage_cost_us(self.problem, pools)
                if best is None or cost < best[0]:
                    best = cost, pools
        return None if best is None else evaluate(self.problem, best[1])

    def slots(self, roles: Sequence[str]) -> list[Slot]:
        """``enum_alloc``'s slots of one set, without its minimum."""
        unit = {
            pool.name: pool.devices_per_node if self.cluster.devices >= WHOLE_NODES_FROM else 1
            for pool in self.cluster.node_pools
        }
        return [slot for slot in self.problem.slots(roles) if slot.devices % unit[slot.node_pool] == 0]

    def minimum(self, roles: Sequence[str]) -> dict[str, dict[str, Sizes]]:
        """``get_min_alloc``: by node pool, the roles' least sizes where the set first fits."""
        minima: dict[str, dict[str, Sizes]] = {}
        for slot in self.slots(roles):
            sizes = None if slot.node_pool in minima else self.least_sizes(roles, slot)
            if sizes is not None:
                minima[slot.node_pool] = sizes
        return minima

    def least_sizes(self, roles: Sequence[str], slot: Slot) -> dict[str, Sizes] | None:
        """The smallest sizes at which a set fits, or none."""
        smallest = {role: self.smallest_rows(role, slot) for role in roles}
        if not all(smallest.values()):
            return None
        sizes = {role: min(smallest[role], key=lambda size: size[::-1]) for role in roles}
        while not self.fits(slot, {role: smallest[role][sizes[role]] for role in roles}):
            greater = {role: _next_size(sizes[role], list(smallest[role])) for role in roles}
            growing = [role for role in roles if greater[role] is not None]
            if not growing:
                return None
            largest = max(growing, key=lambda role: self.persistent(role, slot, smallest[role][sizes[role]]))
            sizes[largest] = greater[largest] or sizes[largest]
        return sizes

    def smallest_rows(self, role: str, slot: Slot) -> dict[Sizes, int]:
        """By (t, p), the strategy of the fewest bytes."""
        rows: dict[Sizes, int] = {}
        for row in self.rank(role, slot, (1, 1)):
            layout = self.problem.options[role][slot].strategies[row].layout
            size = (layout.tensor, layout.pipeline)
            if size not in rows or self.bytes(role, slot, row) < self.bytes(role, slot, rows[size]):
                rows[size] = row
        return rows

    def auto_parallel(
        self, roles: Sequence[str], slot: Slot, sizes: Mapping[str, Sizes]
    ) -> PoolChoice | None:
        """Algorithm 2 for every role of a set: the cheapest strategy that leaves room for the others."""
        ranked = {role: self.rank(role, slot, sizes[role]) for role in roles}
        if not all(ranked.values()):
            return None
        chosen = {role: self.smallest(role, slot, ranked[role]) for role in roles}
        for role in roles:
            fitting = (row for row in ranked[role] if self.fits(slot, {**chosen, role: row}))
            row = next(fitting, None)
            if row is None:
                return None
            chosen[role] = row
        return PoolChoice(roles=tuple(roles), slot=slot, rows=tuple(chosen[role] for role in roles))

    def smallest(self, role: str, slot: Slot, rows: Sequence[int]) -> int:
        """The strategy of the fewest bytes among some."""
        return min(rows, key=lambda row: self.bytes(role, slot, row))

    def rank(self, role: str, slot: Slot, least: Sizes) -> list[int]:
        """Algorithm 2's loops: t from t_min to U, p from p_min to max(1, N_l / U), by rising seconds."""
        key = (role, slot, least)
        if key not in self.ranked:
            table = self.problem.options[role][slot]
            longest = max(1, slot.devices // self.cluster.node_pool(slot.node_pool).devices_per_node)
            seconds = table.call_us.sum(axis=1).tolist()
            layouts = [strategy.layout for strategy in table.strategies]
            rows = [
                row
                for row, layout in enumerate(layouts)
                if layout.tensor >= least[0] and least[1] <= layout.pipeline <= longest
            ]
            self.ranked[key] = sorted(rows, key=lambda row: seconds[row])
        return self.ranked[key]

    def fits(self, slot: Slot, rows: Mapping[str, int]) -> bool:
        """Whether these strategies fit a device together."""
        persistent = sum(self.persistent(role, slot, row) for role, row in rows.items())
        transient = max(int(self.problem.options[role][slot].transient[row]) for role, row in rows.items())
        host = sum(int(self.problem.options[role][slot].host[row]) for role, row in rows.items())
        return (
            persistent + transient <= self.problem.memory[slot.node_pool]
            and host <= self.problem.host_memory[slot.node_pool]
        )

    def persistent(self, role: str, slot: Slot, row: int) -> int:
        """Persistent bytes of one strategy."""
        return int(self.problem.options[role][slot].persistent[row])

    def bytes(self, role: str, slot: Slot, row: int) -> int:
        """All bytes of one strategy."""
        return self.persistent(role, slot, row) + int(self.problem.options[role][slot].transient[row])


def _next_size(size: Sizes, sizes: Sequence[Sizes]) -> Sizes | None:
    """The next greater (t, p) that is no smaller in either, growing t before p."""
    greater = [other for other in sizes if other != size and other[0] >= size[0] and other[1] >= size[1]]
    return min(greater, key=lambda other: other[::-1], default=None)
