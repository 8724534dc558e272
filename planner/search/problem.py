"""The complete placement problem in whole microseconds and bytes, as every solver gets it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from planner.domain.dataflow import DataflowGraph
from planner.domain.placement import Placement
from planner.domain.plan import RoleStrategy, Status
from planner.domain.scenario import Scenario
from planner.search.allocation import Slot, cluster_slots
from planner.search.constraints import colocated_sets, refuse_contradictions
from planner.search.strategies import Costs, Options, RoleTable

RUNNERS_UP = 3
"""Other placements whose best plans are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Roles, their options on every slot, and what a device and a node pool can hold.

    A plan partitions the roles into pools and gives each pool a slot, and each role an option of its pool's
    slot. It costs the sum over stages of the maximum over pools of the sum over their roles (HybridFlow,
    algorithm 1, ``d_cost``).
    """

    roles: tuple[str, ...]
    stages: int
    options: Mapping[str, Mapping[Slot, Options]]
    """Undominated options of each role, on the slots where it has any."""
    capacities: Mapping[str, int]
    """Devices of each node pool."""
    memory: Mapping[str, int]
    """Usable bytes of one device of each node pool."""
    together: tuple[frozenset[str], ...] = ()
    """Disjoint sets of roles that must share a pool."""
    apart: tuple[frozenset[str], ...] = ()
    """Sets of roles of which no two may share a pool."""

    def may_share(self, roles: Sequence[str]) -> bool:
        """Whether exactly these roles may form a pool."""
        return all(group <= set(roles) or group.isdisjoint(roles) for group in self.together) and all(
            len(group.intersection(roles)) <= 1 for group in self.apart
        )

    def slots(self, roles: Sequence[str]) -> tuple[Slot, ...]:
        """Slots where each of the roles has an option, in the order of the grid."""
        first, *others = (self.options[role] for role in roles)
        return tuple(slot for slot in first if all(slot in other for other in others))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChoice:
    """A colocated set, its slot, and the number of each role's option in the table of that slot."""

    roles: tuple[str, ...]
    slot: Slot
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """One plan of a problem, pools in order of their first role."""

    pools: tuple[PoolChoice, ...]
    objective_us: int

    @classmethod
    def of(cls, problem: Problem, pools: Sequence[PoolChoice]) -> "Solution":
        """These pools with their stage cost."""
        return cls(pools=tuple(pools), objective_us=_stage_cost_us(problem, pools))

    @property
    def placement(self) -> Placement:
        return tuple(pool.roles for pool in self.pools)

    def strategies(self, problem: Problem) -> dict[str, RoleStrategy]:
        """The strategy of each role."""
        return {
            role: problem.options[role][pool.slot].strategies[row]
            for pool in self.pools
            for role, row in zip(pool.roles, pool.rows, strict=True)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a solver found and what it proved."""

    solution: Solution
    bound_us: int
    runners_up: tuple[Solution, ...]
    """Best plans of other placements, best first."""

    @property
    def status(self) -> Status:
        return "optimal" if self.bound_us >= self.solution.objective_us else "feasible"


def prepare(
    scenario: Scenario, graph: DataflowGraph, costs: Costs, *, slots: Sequence[Slot] | None = None
) -> Problem:
    """Build the option table of every role, and gather what a plan must respect.

    Parameters
    ----------
    slots
        The part of the grid that pools may take; all of it by default.

    Raises
    ------
    InfeasibleError
        When ``pin``, ``colocate`` and ``apart`` contradict each other.
    """
    refuse_contradictions(scenario, graph)
    cluster = scenario.cluster
    grid = cluster_slots(cluster) if slots is None else slots
    return Problem(
        roles=graph.roles,
        stages=len(graph.stages),
        options=MappingProxyType(
            {role: _role_options(role, grid, scenario, graph, costs) for role in graph.roles}
        ),
        capacities=MappingProxyType({pool.name: pool.devices for pool in cluster.node_pools}),
        memory=MappingProxyType({pool.name: pool.device.usable_memory for pool in cluster.node_pools}),
        together=colocated_sets(scenario),
        apart=tuple(map(frozenset, scenario.apart)),
    )


def _role_options(
    role: str, grid: Sequence[Slot], scenario: Scenario, graph: DataflowGraph, costs: Costs
) -> Mapping[Slot, Options]:
    tables = {
        pool.name: RoleTable(role=role, scenario=scenario, graph=graph, costs=costs, node_pool=pool)
        for pool in scenario.cluster.node_pools
    }
    for name, table in tables.items():
        table.foresee([slot.devices for slot in grid if slot.node_pool == name])
    options = {slot: tables[slot.node_pool].options(slot.devices) for slot in grid}
    return MappingProxyType({slot: table for slot, table in options.items() if len(table)})


def _stage_cost_us(problem: Problem, pools: Sequence[PoolChoice]) -> int:
    cost = 0
    for stage in range(problem.stages):
        cost += max(
            sum(
                int(problem.options[role][pool.slot].stage_us[row, stage])
                for role, row in zip(pool.roles, pool.rows, strict=True)
            )
            for pool in pools
        )
    return cost
