"""The complete placement problem in whole microseconds and bytes, as every solver gets it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from planner.costs.services import seconds_of_services
from planner.costs.sync.crossing import crossing_seconds
from planner.domain.dataflow import ACTOR, GENERATOR, DataflowGraph
from planner.domain.placement import Placement
from planner.domain.plan import RoleStrategy, Status
from planner.domain.scenario import Scenario, TimeModel
from planner.search.arrays import Integers
from planner.search.costs_protocol import Costs
from planner.search.microseconds import microseconds
from planner.search.options.table import Options, RoleTable
from planner.search.problem.allocation import Slot, lone_slots, scenario_slots
from planner.search.problem.constraints import colocated_sets, refuse_contradictions
from planner.units import MICROSECOND

ENDLESS = 2**62
"""Bytes of a memory that nobody limits."""
RUNNERS_UP = 3
"""Other placements whose best plans are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the dataflow, as solvers see it."""

    name: str
    role: int | None
    """Number of its role; none for a call that takes no devices."""
    stage: int
    us: int = 0
    """Microseconds of a call that takes no devices; others' are their option's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Call ``target`` of iteration i starts after call ``source`` of iteration i - lag has ended."""

    source: int
    target: int
    lag: int = 0
    crossing_us: int = 0
    """Microseconds that pass between the two where their roles lie in different node pools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What all pools together may take."""

    price: Mapping[str, int]
    """Of one device of each node pool."""
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Roles, their options on every slot, and what a device and a node pool can hold.

    A plan partitions the roles into pools and gives each pool a slot, and each role an option of its pool's
    slot. Under the time model ``stage`` it costs the sum over stages of the maximum over pools of the sum
    over their roles (HybridFlow, algorithm 1, ``d_cost``); under ``period`` the least period of a cyclic
    schedule.
    """

    roles: tuple[str, ...]
    stages: int
    calls: tuple[Call, ...]
    """All calls in program order."""
    waits: tuple[Wait, ...]
    options: Mapping[str, Mapping[Slot, Options]]
    """Undominated options of each role, on the slots where it has any."""
    capacities: Mapping[str, int]
    """Devices of each node pool."""
    node_devices: Mapping[str, int] = field(default_factory=dict)
    """Devices of one node of each node pool."""
    lone: frozenset[Slot] = frozenset()
    """Slots that pack with others of one node only (`planner.search.problem.parts`)."""
    memory: Mapping[str, int]
    """Usable bytes of one device of each node pool."""
    host_memory: Mapping[str, int]
    """Bytes of host memory that one device of each node pool may fill."""
    time_model: TimeModel = "stage"
    interleaves: bool = True
    """Whether a pool may run calls of different iterations in one period."""
    spreads: bool = True
    """Whether pools may lie in different node pools."""
    budget: Budget | None = None
    together: tuple[frozenset[str], ...] = ()
    """Disjoint sets of roles that must share a pool."""
    apart: tuple[frozenset[str], ...] = ()
    """Sets of roles of which no two may share a pool."""

    def may_share(self, roles: Sequence[str]) -> bool:
        """Whether exactly these roles may form a pool."""
        return all(group <= set(roles) or group.isdisjoint(roles) for group in self.together) and all(
            len(group.intersection(roles)) <= 1 for group in self.apart
        )

    def stage_us(self, role: str, slot: Slot) -> Integers:
        """Microseconds of the role's calls in each stage, shape (options, stages)."""
        index = self.roles.index(role)
        stages = np.array([call.stage for call in self.calls if call.role == index])
        in_stage: Integers = np.eye(self.stages, dtype=np.int64)[stages]
        total: Integers = self.options[role][slot].call_us @ in_stage
        return total

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

    @property
    def placement(self) -> Placement:
        return tuple(pool.roles for pool in self.pools)

    @property
    def seconds(self) -> float:
        """The float nearest to its microseconds."""
        return round(self.objective_us * MICROSECOND, 6)

    @property
    def devices(self) -> int:
        """Of all pools."""
        return sum(pool.slot.devices for pool in self.pools)

    def busy_us(self, problem: Problem) -> int:
        """Microseconds of all calls that take devices."""
        return sum(
            int(problem.options[role][pool.slot].call_us[row].sum())
            for pool in self.pools
            for role, row in zip(pool.roles, pool.rows, strict=True)
        )

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
    scenario: Scenario,
    graph: DataflowGraph,
    costs: Costs,
    *,
    slots: Sequence[Slot] | None = None,
    limit_us: int | None = None,
) -> Problem:
    """Build the option table of every role, and gather what a plan must respect.

    Parameters
    ----------
    slots
        The part of the grid that pools may take; all of it by default.
    limit_us
        Longest time of interest: options that take longer by themselves are left out.

    Raises
    ------
    InfeasibleError
        When ``pin``, ``colocate`` and ``apart`` contradict each other.
    """
    refuse_contradictions(scenario, graph)
    cluster = scenario.cluster
    grid = scenario_slots(scenario) if slots is None else slots
    return Problem(
        roles=graph.roles,
        stages=len(graph.stages),
        calls=_calls(scenario, graph),
        waits=_waits(scenario, graph),
        options=MappingProxyType(
            {role: _role_options(role, grid, scenario, graph, costs, limit_us) for role in graph.roles}
        ),
        capacities=MappingProxyType({pool.name: pool.devices for pool in cluster.node_pools}),
        node_devices=MappingProxyType({pool.name: pool.devices_per_node for pool in cluster.node_pools}),
        lone=frozenset(lone_slots(cluster)),
        memory=MappingProxyType({pool.name: pool.device.usable_memory for pool in cluster.node_pools}),
        host_memory=MappingProxyType(
            {pool.name: _or_endless(pool.host_memory_per_device) for pool in cluster.node_pools}
        ),
        time_model=scenario.time_model,
        together=colocated_sets(scenario),
        interleaves=scenario.capabilities is None or scenario.capabilities.ahead,
        spreads=scenario.capabilities is None or scenario.capabilities.node_pools,
        apart=_apart(scenario, graph),
    )


def _calls(scenario: Scenario, graph: DataflowGraph) -> tuple[Call, ...]:
    numbers = {role: number for number, role in enumerate(graph.roles)}
    services = {name: microseconds(each) for name, each in seconds_of_services(scenario, graph).items()}
    return tuple(
        Call(
            name=call.name,
            role=numbers.get(call.role),
            stage=graph.stage_of.get(call.name, 0),
            us=services.get(call.name, 0),
        )
        for call in graph.calls
    )


def _waits(scenario: Scenario, graph: DataflowGraph) -> tuple[Wait, ...]:
    numbers = {call.name: number for number, call in enumerate(graph.calls)}
    has_link = len(scenario.cluster.node_pools) > 1
    return tuple(
        Wait(
            source=numbers[each.source],
            target=numbers[each.target],
            lag=each.lag,
            crossing_us=microseconds(crossing_seconds(scenario, graph, each)) if has_link else 0,
        )
        for each in graph.dependences
    )


def _apart(scenario: Scenario, graph: DataflowGraph) -> tuple[frozenset[str], ...]:
    """What the scenario keeps apart, and a generator from the actor that it runs ahead of."""
    demanded = tuple(map(frozenset, scenario.apart))
    return (*demanded, frozenset({GENERATOR, ACTOR})) if GENERATOR in graph.roles else demanded


def _or_endless(count: int | None) -> int:
    return ENDLESS if count is None else count


def _role_options(
    role: str,
    grid: Sequence[Slot],
    scenario: Scenario,
    graph: DataflowGraph,
    costs: Costs,
    limit_us: int | None,
) -> Mapping[Slot, Options]:
    tables = {
        pool.name: RoleTable(
            role=role, scenario=scenario, graph=graph, costs=costs, node_pool=pool, limit_us=limit_us
        )
        for pool in scenario.cluster.node_pools
    }
    counts = {name: [slot.devices for slot in grid if slot.node_pool == name] for name in tables}
    found = {
        Slot(name, devices): options
        for name, table in tables.items()
        if counts[name]
        for devices, options in table.all_options(counts[name]).items()
    }
    return MappingProxyType({slot: found[slot] for slot in grid if len(found[slot])})
