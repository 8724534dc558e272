"""Why nothing fits, and the nearest change that was found to help."""

from collections.abc import Iterator, Sequence

import numpy as np

from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.pins import PinKey, Pins
from planner.domain.plan import RoleMemory, RoleStrategy
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError, Shortage
from planner.search.arrays import Integers
from planner.search.costs_protocol import Costs
from planner.search.options.table import Options
from planner.search.problem import Problem, prepare
from planner.search.problem.allocation import Slot, scenario_slots
from planner.search.refusals.fixes import LARGEST_GROWTH, fixes, quick_slots
from planner.search.refusals.offers import offered_values
from planner.units import format_bytes

_ROOMIER = (1.25, 1.5, 2, 3, 4, 8, 16, 64, 1024)
"""Times the memory of devices and hosts on which a role that fits nowhere is tried."""
_SHOWN_VALUES = 12
"""Device counts or values of a pin that a message lists."""


def refusal(problem: Problem, scenario: Scenario, graph: DataflowGraph, costs: Costs) -> InfeasibleError:
    """The error for a scenario that no plan fits, without what would help."""
    homeless = [role for role in problem.roles if not problem.options[role]]
    reason, shortage = (
        _role_reason(homeless[0], scenario, graph, costs) if homeless else _pool_reason(problem, scenario)
    )
    return InfeasibleError(reason, fix="", shortage=shortage)


def with_fixes(
    error: InfeasibleError, scenario: Scenario, graph: DataflowGraph, costs: Costs
) -> InfeasibleError:
    """The same error with all changes that help; where none is found, with its own words or what to try."""
    found = (*error.fixes, *fixes(scenario, graph, costs))
    fix = found[0].words if found else error.fix or _HOPELESS
    return InfeasibleError(
        error.reason, fix=fix, fixes=found, shortage=error.shortage, fastest_s=error.fastest_s
    )


_HOPELESS = (
    f"{LARGEST_GROWTH} times the nodes were tried in vain, and all larger devices of the catalog: use a "
    "smaller model, shorter sequences or smaller batches"
)


def _role_reason(
    role: str, scenario: Scenario, graph: DataflowGraph, costs: Costs
) -> tuple[str, Shortage | None]:
    """A role that fits nowhere, even alone: what its smallest strategy needs."""
    under = pins_words(role, scenario)
    found = _smallest(role, scenario, graph, costs)
    if found is None:
        return _no_strategy(role, scenario, graph, under), None
    slot, strategy, shortage = found
    where = f" in {shortage.phase}" if shortage.phase else ""
    host = " of host memory" if shortage.memory == "host" else ""
    reason = (
        f"{role}: needs {format_bytes(shortage.bytes_needed)}{host} per device{where} at "
        f"{_strategy_words(strategy)} on {counted_devices(slot.devices)}{under}, {shortage.device} has "
        f"{format_bytes(shortage.bytes_there)}; "
        f"{format_bytes(shortage.bytes_short)} are short"
    )
    return reason, shortage


def pins_words(role: str, scenario: Scenario) -> str:
    """Under which pins of a role something is said; nothing where there are none."""
    pins = ", ".join(words for words, keys in scenario.pin.demands() if any(key.role == role for key in keys))
    return f" under the pins {pins}" if pins else ""


def _strategy_words(strategy: RoleStrategy) -> str:
    """A strategy, with what saves memory."""
    layout = strategy.model_copy(update={"recompute": "none", "offload": "none"})
    saving = {"recompute": strategy.recompute, "offload": strategy.offload}
    return ", ".join([str(layout), *(f"{what} {which}" for what, which in saving.items() if which != "none")])


def counted_devices(count: int) -> str:
    """A number of devices in words.

    >>> counted_devices(1), counted_devices(8)
    ('1 device', '8 devices')
    """
    return f"{count} device{'' if count == 1 else 's'}"


def _smallest(
    role: str, scenario: Scenario, graph: DataflowGraph, costs: Costs
) -> tuple[Slot, RoleStrategy, Shortage] | None:
    """Of a role that fits nowhere, the strategy that lacks least, found on devices of more memory."""
    for factor in _ROOMIER:
        problem = prepare(_roomier(scenario, factor), graph, costs, slots=quick_slots(scenario))
        found: list[tuple[int, Slot, int]] = []
        for slot, table in problem.options[role].items():
            lacking = _lacking(table, scenario.cluster.node_pool(slot.node_pool))
            found.append((int(lacking.min()), slot, int(lacking.argmin())))
        if found:
            _, slot, row = min(found, key=lambda each: each[0])
            strategy = problem.options[role][slot].strategies[row]
            node_pool = scenario.cluster.node_pool(slot.node_pool)
            return slot, strategy, _shortage(role, costs.memory(role, strategy, node_pool), node_pool)
    return None


def _lacking(table: Options, node_pool: NodePool) -> Integers:
    """Bytes that each option lacks, on the device and the host together; shape (options,)."""
    device = np.maximum(table.persistent + table.transient - node_pool.device.usable_memory, 0)
    there = node_pool.host_memory_per_device
    lacking: Integers = device if there is None else device + np.maximum(table.host - there, 0)
    return lacking


def _shortage(role: str, memory: RoleMemory, node_pool: NodePool) -> Shortage:
    """What one strategy lacks: device memory in its greatest call, or host memory."""
    needed, there = memory.persistent_bytes + memory.transient_bytes, node_pool.device.usable_memory
    host = node_pool.host_memory_per_device
    if needed <= there and host is not None and memory.host > host:
        return Shortage(
            role=role,
            phase="",
            device=node_pool.device.name,
            memory="host",
            bytes_needed=memory.host,
            bytes_there=host,
        )
    peaks = {call: sum(kinds.values()) for call, kinds in memory.transient.items()}
    return Shortage(
        role=role,
        phase=max(peaks, key=peaks.__getitem__, default=""),
        device=node_pool.device.name,
        bytes_needed=needed,
        bytes_there=there,
    )


def _roomier(scenario: Scenario, factor: float) -> Scenario:
    """The scenario on devices and hosts of so many times the memory."""

    def roomier(pool: NodePool) -> NodePool:
        memory = int(factor * pool.device.usable_memory) + pool.device.reserved
        host = None if pool.host_memory is None else int(factor * pool.host_memory)
        device = pool.device.model_copy(update={"memory": memory})
        return pool.model_copy(update={"device": device, "host_memory": host})

    return scenario.with_node_pools(roomier)


def _no_strategy(role: str, scenario: Scenario, graph: DataflowGraph, under: str) -> str:
    """Why a role has no strategy on devices of any memory."""
    cluster = scenario.cluster
    largest = max(pool.devices for pool in cluster.node_pools)
    pinned = scenario.pin.root.get(PinKey(role, "", "devices"))
    if isinstance(pinned, int) and pinned > largest:
        return (
            f"{role}: pinned to {counted_devices(pinned)}, but no node pool of {cluster.name} has more than "
            f"{largest}"
        )
    why = "; ".join(_offers(role, scenario, graph)) or _grid_words(scenario)
    return f"{role}: no strategy exists{under}; {why}"


def _offers(role: str, scenario: Scenario, graph: DataflowGraph) -> Iterator[str]:
    """What each pinned field of a role could be instead, under all other pins."""
    for key in scenario.pin.root:
        if key.role == role:
            kept = {other: value for other, value in scenario.pin.root.items() if other != key}
            freed = scenario.model_copy(update={"pin": Pins(kept)})
            offered = offered_values(key, freed, graph)
            if offered:
                yield f"{key} can {'only ' if len(offered) == 1 else ''}be {_listed(offered)}"


def _grid_words(scenario: Scenario) -> str:
    counts = _listed(sorted({str(slot.devices) for slot in scenario_slots(scenario)}, key=int))
    return (
        f"pools take {counts} devices of {scenario.cluster.name}, micro-batches are powers of two, t divides "
        "the heads and a node's devices"
    )


def _listed(values: Sequence[str]) -> str:
    """Values with commas between, of many the first ones and the last."""
    few = values if len(values) <= _SHOWN_VALUES else [*values[: _SHOWN_VALUES - 1], "...", values[-1]]
    return ", ".join(few)


def _pool_reason(problem: Problem, scenario: Scenario) -> tuple[str, Shortage | None]:
    """Roles that fit one by one, but not all of them at once."""
    least = {role: min(slot.devices for slot in problem.options[role]) for role in problem.roles}
    alone = ", ".join(f"{role} {devices}" for role, devices in least.items())
    there_are = counted_devices(scenario.cluster.devices)
    shared = problem.slots(problem.roles)
    if not shared or not problem.may_share(problem.roles):
        reason = (
            f"the {there_are} cannot hold all roles in any permitted placement; alone each needs at least so "
            f"many: {alone}"
        )
        return reason, None
    slot = max(shared, key=lambda slot: slot.devices)
    tables = {role: problem.options[role][slot] for role in problem.roles}
    needed, there = _least_bytes(list(tables.values())), problem.memory[slot.node_pool]
    largest = max(tables, key=lambda role: int(tables[role].persistent.min()))
    device = scenario.cluster.node_pool(slot.node_pool).device.name
    roles = ", ".join(problem.roles)
    where = f"{counted_devices(slot.devices)} of {slot.node_pool}"
    apart = (
        f"in separate pools they do not fit {there_are} either (alone each needs at least so many: {alone})"
    )
    if needed <= there:
        return (
            f"{roles}: a device of {where} holds them, but not the host memory of what they offload; {apart}",
            None,
        )
    reason = (
        f"{roles}: need at least {format_bytes(needed)} per device together on {where}, of which {largest} "
        f"keeps {format_bytes(int(tables[largest].persistent.min()))}; {device} has {format_bytes(there)}, "
        f"{format_bytes(needed - there)} are short, and {apart}"
    )
    return reason, Shortage(role=roles, phase="", device=device, bytes_needed=needed, bytes_there=there)


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
