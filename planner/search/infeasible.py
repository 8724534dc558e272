"""Why nothing fits, and the nearest change that was checked to help."""

from collections.abc import Iterator, Sequence

from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.pins import Pins
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.search.allocation import Slot, device_counts
from planner.search.beam import quick_solutions
from planner.search.floors import Floors
from planner.search.problem import Problem, prepare
from planner.search.strategies import Costs, Options, RoleTable
from planner.units import format_bytes

LARGEST_GROWTH = 64
"""How many times the nodes a fix may ask for."""
SLOTS_TRIED = 4
"""Device counts of a greater cluster on which a plan is looked for: all of them, a half, and so on."""


def explain(problem: Problem, scenario: Scenario, graph: DataflowGraph, costs: Costs) -> InfeasibleError:
    """The error for a scenario that no plan fits."""
    homeless = [role for role in problem.roles if not problem.options[role]]
    if homeless:
        reason = _role_reason(homeless[0], scenario, graph, costs)
    else:
        reason = _pool_reason(problem, scenario)
    return InfeasibleError(reason, fix=_fix(scenario, graph, costs))


def _role_reason(role: str, scenario: Scenario, graph: DataflowGraph, costs: Costs) -> str:
    """A role that fits nowhere, even alone: what its smallest strategy needs on the most devices."""
    pins = ", ".join(f"{key}: {value}" for key, value in scenario.pin.root.items() if key.role == role)
    under = f" under the pins {pins}" if pins else ""
    shortages: list[tuple[int, str]] = []
    for node_pool in scenario.cluster.node_pools:
        table = RoleTable(role=role, scenario=scenario, graph=graph, costs=costs, node_pool=node_pool)
        smallest = map(table.smallest, reversed(device_counts(node_pool)))
        found = next((each for each in smallest if each is not None), None)
        if found is not None:
            strategy, needed = found
            there = node_pool.device.usable_memory
            text = (
                f"{role}: needs {format_bytes(needed)} per device at {strategy} on {strategy.layout.devices} "
                f"devices{under}, {node_pool.device.name} has {format_bytes(there)}"
            )
            shortages.append((needed - there, text))
    if shortages:
        return min(shortages)[1]
    counts = sorted({count for pool in scenario.cluster.node_pools for count in device_counts(pool)})
    return (
        f"{role}: no strategy exists{under}; pools take {', '.join(map(str, counts))} devices of "
        f"{scenario.cluster.name}, micro-batches are powers of two, t divides the heads and a node's devices"
    )


def _pool_reason(problem: Problem, scenario: Scenario) -> str:
    """Roles that fit one by one, but not all of them at once."""
    least = {role: min(slot.devices for slot in problem.options[role]) for role in problem.roles}
    alone = ", ".join(f"{role} {devices}" for role, devices in least.items())
    shared = problem.slots(problem.roles)
    if not shared or not problem.may_share(problem.roles):
        return (
            f"the {scenario.cluster.devices} devices cannot hold all roles in any permitted placement; alone "
            f"each needs at least so many: {alone}"
        )
    slot = max(shared, key=lambda slot: slot.devices)
    tables = {role: problem.options[role][slot] for role in problem.roles}
    needed = _least_bytes(list(tables.values()))
    largest = max(tables, key=lambda role: int(tables[role].persistent.min()))
    there = problem.memory[slot.node_pool]
    return (
        f"{', '.join(problem.roles)}: need at least {format_bytes(needed)} per device together on {slot}, of "
        f"which {largest} keeps {format_bytes(int(tables[largest].persistent.min()))}; a device has "
        f"{format_bytes(there)}, and in separate pools they do not fit {scenario.cluster.devices} devices "
        f"either (alone each needs at least so many: {alone})"
    )


def _least_bytes(tables: Sequence[Options]) -> int:
    """Fewest bytes of roles that share a device: the least persistent ones under each transient peak."""
    best: int | None = None
    for peak in sorted({int(peak) for table in tables for peak in table.transient}):
        within = [table.persistent[table.transient <= peak] for table in tables]
        if all(len(persistent) for persistent in within):
            needed = sum(int(persistent.min()) for persistent in within) + peak
            best = needed if best is None else min(best, needed)
    assert best is not None, "every role has an option"
    return best


def _fix(scenario: Scenario, graph: DataflowGraph, costs: Costs) -> str:
    for demand, freed in _freed(scenario):
        if is_feasible(freed, graph, costs):
            return f"without {demand} there is a plan"
    free = scenario.model_copy(update={"pin": Pins({}), "colocate": (), "apart": ()})
    if free != scenario and is_feasible(free, graph, costs):
        return "without pin, colocate and apart there is a plan"
    devices = _devices_that_fit(scenario, graph, costs)
    if devices is not None:
        return f"{devices} of the same devices hold it"
    return (
        f"{LARGEST_GROWTH} times the nodes were tried in vain: use devices with more memory, a smaller "
        "model or shorter sequences"
    )


def _freed(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    """The scenario with one demand dropped at a time."""
    for key, value in scenario.pin.root.items():
        kept = {other: pinned for other, pinned in scenario.pin.root.items() if other != key}
        yield f"the pin {key}: {value}", scenario.model_copy(update={"pin": Pins(kept)})
    for place in ("colocate", "apart"):
        groups: tuple[tuple[str, ...], ...] = getattr(scenario, place)
        for group in groups:
            others = tuple(other for other in groups if other != group)
            yield f"{place} of {', '.join(group)}", scenario.model_copy(update={place: others})


def _devices_that_fit(scenario: Scenario, graph: DataflowGraph, costs: Costs) -> int | None:
    """Devices of the smallest multiple of the cluster's nodes that is found to hold a plan."""
    factor = 2
    while not is_feasible(_grown(scenario, factor), graph, costs):
        factor *= 2
        if factor > LARGEST_GROWTH:
            return None
    too_small, fits = factor // 2, factor
    while fits - too_small > 1:
        middle = (too_small + fits) // 2
        if is_feasible(_grown(scenario, middle), graph, costs):
            fits = middle
        else:
            too_small = middle
    return _grown(scenario, fits).cluster.devices


def _grown(scenario: Scenario, factor: int) -> Scenario:
    node_pools = tuple(
        pool.model_copy(update={"nodes": factor * pool.nodes}) for pool in scenario.cluster.node_pools
    )
    return scenario.model_copy(
        update={"cluster": scenario.cluster.model_copy(update={"node_pools": node_pools})}
    )


def is_feasible(scenario: Scenario, graph: DataflowGraph, costs: Costs) -> bool:
    """Whether a quick search, on a few of the greatest device counts and those pinned, finds a plan."""
    slots = [
        Slot(pool.name, count) for pool in scenario.cluster.node_pools for count in _counts(scenario, pool)
    ]
    problem = prepare(scenario, graph, costs, slots=slots)
    return bool(quick_solutions(problem, Floors.of(problem)))


def _counts(scenario: Scenario, node_pool: NodePool) -> list[int]:
    counts = device_counts(node_pool)
    pinned = {value for key, value in scenario.pin.root.items() if (key.phase, key.field) == ("", "devices")}
    greatest = {
        max((count for count in counts if count <= node_pool.devices // 2**halving), default=counts[0])
        for halving in range(SLOTS_TRIED)
    }
    return [count for count in counts if count in greatest or count in pinned]
