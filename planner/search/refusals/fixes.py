"""Changes that would let a plan fit, each found by looking for a plan under it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planner.domain.catalog import device_names, read_device
from planner.domain.cluster import MOST_NODES, DeviceSpec, NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.pins import Pins
from planner.domain.scenario import Scenario
from planner.errors import Fix, InfeasibleError
from planner.search.costs_protocol import Costs
from planner.search.objectives import permitted_us
from planner.search.objectives.fastest import Fastest
from planner.search.problem import prepare
from planner.search.problem.allocation import Slot, scenario_slots
from planner.units import GIB

LARGEST_GROWTH = 64
"""How many times the nodes a fix may ask for."""
SLOTS_TRIED = 24
"""About as many device counts as a plan is looked for on."""
DEVICES_OF_A_NODE = 8
"""As many as a single node of fewer may be given."""
MORE_HOST_MEMORY = 16
"""How many times the host memory a fix may ask for."""
_ABILITIES = {
    "offload": "offload",
    "selective": "recompute",
    "token_budgets": "capability",
    "cache_tokens": "capability",
    "context": "capability",
    "expert": "capability",
    "node_pools": "capability",
}
"""Abilities of a runtime that can save memory or make room, and what kind of fix each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a scenario."""

    kind: str
    words: str
    scenario: Scenario


def fixes(
    scenario: Scenario,
    graph: DataflowGraph,
    costs: Costs,
    *,
    demanded: Callable[[Scenario], Scenario] = lambda scenario: scenario,
) -> tuple[Fix, ...]:
    """Every change that is found to help, those that cost least first.

    Demands and runtimes cost nothing, so one of them comes first, then all of them; more devices and larger
    devices cost money. What a quick search finds is a plan; what it does not find may exist.

    Parameters
    ----------
    demanded
        Adds demands that no change drops, and that depend on the cluster.
    """

    def fits(changed: Scenario) -> bool:
        try:
            return is_feasible(demanded(changed), graph, costs)
        except InfeasibleError:
            return False

    found = [each for each in (*_freed(scenario), *_abler(scenario)) if fits(each.scenario)]
    if not found:
        found = [each for each in _all_freed(scenario) if fits(each.scenario)]
    found += _more_host_memory(scenario, fits)
    found += _more_devices(scenario, fits)
    found += _larger_devices(scenario, fits)
    return tuple(Fix(kind=each.kind, words=each.words) for each in found)


def _freed(scenario: Scenario) -> Iterator[Change]:
    """One demand dropped at a time."""
    for words, keys in scenario.pin.demands():
        kept = {key: pinned for key, pinned in scenario.pin.root.items() if key not in keys}
        fields = {key.field for key in keys}
        kind = next((field for field in ("recompute", "offload") if field in fields), "demand")
        changed = scenario.model_copy(update={"pin": Pins(kept)})
        yield Change(kind=kind, words=f"without the pin {words} there is a plan", scenario=changed)
    for place in ("colocate", "apart"):
        groups: tuple[tuple[str, ...], ...] = getattr(scenario, place)
        for group in groups:
            changed = scenario.model_copy(update={place: tuple(each for each in groups if each != group)})
            words = f"without {place} of {', '.join(group)} there is a plan"
            yield Change(kind="demand", words=words, scenario=changed)
    if scenario.maximum_devices is not None:
        changed = scenario.model_copy(update={"maximum_devices": None})
        yield Change(
            kind="demand",
            words=f"without maximum_devices: {scenario.maximum_devices} there is a plan",
            scenario=changed,
        )


def _abler(scenario: Scenario) -> Iterator[Change]:
    """A runtime with one ability more."""
    able = scenario.capabilities
    if able is None:
        return
    for field, kind in _ABILITIES.items():
        if not getattr(able, field):
            changed = scenario.model_copy(update={"capabilities": able.model_copy(update={field: True})})
            words = f"with capabilities.{field}: true, on a runtime that can, there is a plan"
            yield Change(kind=kind, words=words, scenario=changed)
    changed = scenario.model_copy(update={"capabilities": None})
    yield Change(kind="capability", words="without capabilities there is a plan", scenario=changed)


def _all_freed(scenario: Scenario) -> Iterator[Change]:
    """Every demand dropped."""
    free = {"pin": Pins({}), "colocate": (), "apart": (), "maximum_devices": None}
    changed = scenario.model_copy(update=free)
    if changed != scenario:
        words = "without pin, colocate, apart and maximum_devices there is a plan"
        yield Change(kind="demand", words=words, scenario=changed)


def _more_host_memory(scenario: Scenario, fits: Callable[[Scenario], bool]) -> Iterator[Change]:
    """The least greater host memory that is found to hold a plan, of each node pool that states one."""
    for pool in scenario.cluster.node_pools:
        size = None if pool.host_memory is None else _least_host_gib(scenario, pool, fits)
        if size is not None:
            yield Change(
                kind="host",
                words=f"host_memory: {size} GiB in each node of {pool.name} is enough",
                scenario=_with_host_memory(scenario, pool, size),
            )


def _least_host_gib(scenario: Scenario, pool: NodePool, fits: Callable[[Scenario], bool]) -> int | None:
    there = pool.host_memory or 0
    sizes = round_sizes(there, MORE_HOST_MEMORY * there)
    number = _first(len(sizes), lambda number: fits(_with_host_memory(scenario, pool, sizes[number])))
    return None if number is None else sizes[number]


def _with_host_memory(scenario: Scenario, pool: NodePool, gib: int) -> Scenario:
    return scenario.with_node_pool(pool.model_copy(update={"host_memory": gib * GIB}))


def round_sizes(more_than: int, most: int) -> list[int]:
    """GiB of two significant digits between two counts of bytes, rising.

    >>> round_sizes(95 * 2**30, 130 * 2**30)
    [96, 97, 98, 99, 100, 110, 120, 130]
    """
    sizes = (digits * 10**zeros for zeros in range(16) for digits in range(1 if zeros == 0 else 10, 100))
    return [size for size in sizes if more_than < size * GIB <= most]


def _first(count: int, holds: Callable[[int], bool]) -> int | None:
    """The first of so many numbers for which something is found to hold that then holds for all greater."""
    if not count or not holds(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def _more_devices(scenario: Scenario, fits: Callable[[Scenario], bool]) -> list[Change]:
    """The fewest nodes more of each node pool, or devices of a single node, fewest devices more first."""
    found: list[tuple[int, Change]] = []
    pools = scenario.cluster.node_pools
    for pool in pools:
        larger = _fuller_node(scenario, pool, fits)
        if larger is None and (nodes := _fewest_nodes(scenario, pool, fits)) is not None:
            larger = pool.model_copy(update={"nodes": nodes})
        if larger is not None:
            of = f"the same devices of {pool.name}" if len(pools) > 1 else "the same devices"
            where = f"{larger.nodes} nodes" if larger.nodes > 1 else "in one node"
            words = f"{larger.devices} of {of} are enough ({where})"
            change = Change(kind="devices", words=words, scenario=scenario.with_node_pool(larger))
            found.append((larger.devices - pool.devices, change))
    return [change for _, change in sorted(found, key=lambda each: each[0])]


def _fuller_node(scenario: Scenario, pool: NodePool, fits: Callable[[Scenario], bool]) -> NodePool | None:
    """A single node of the fewest devices more, up to `DEVICES_OF_A_NODE`, that is found to hold a plan."""
    if pool.nodes > 1:
        return None
    counts = range(pool.devices_per_node + 1, DEVICES_OF_A_NODE + 1)
    larger = (pool.model_copy(update={"devices_per_node": count}) for count in counts)
    return next((each for each in larger if fits(scenario.with_node_pool(each))), None)


def _fewest_nodes(scenario: Scenario, pool: NodePool, fits: Callable[[Scenario], bool]) -> int | None:
    """The smallest node count that is found to hold a plan, by doubling and bisection."""

    def holds(nodes: int) -> bool:
        return fits(scenario.with_node_pool(pool.model_copy(update={"nodes": nodes})))

    too_small, nodes = pool.nodes, 2 * pool.nodes
    largest = min(MOST_NODES, LARGEST_GROWTH * pool.nodes)
    while nodes <= largest and not holds(nodes):
        too_small, nodes = nodes, 2 * nodes
    if nodes > largest:
        return None
    while nodes - too_small > 1:
        middle = (too_small + nodes) // 2
        too_small, nodes = (too_small, middle) if holds(middle) else (middle, nodes)
    return nodes


def _larger_devices(scenario: Scenario, fits: Callable[[Scenario], bool]) -> Iterator[Change]:
    """The smallest catalog device of more memory that holds a plan, of each node pool."""
    pools = scenario.cluster.node_pools
    for pool in pools:
        for device in larger_devices(pool.device):
            changed = scenario.with_node_pool(pool.model_copy(update={"device": device}))
            if fits(changed):
                of = f" in {pool.name}" if len(pools) > 1 else ""
                yield Change(kind="device", words=f"{device.name}{of} is enough", scenario=changed)
                break


def larger_devices(device: DeviceSpec) -> list[DeviceSpec]:
    """Catalog devices of the same kind and of more memory, smallest first."""
    known = [read_device(name) for name in device_names()]
    larger = [
        other for other in known if other.kind == device.kind and other.usable_memory > device.usable_memory
    ]
    return sorted(larger, key=lambda other: (other.usable_memory, other.name))


def is_feasible(scenario: Scenario, graph: DataflowGraph, costs: Costs) -> bool:
    """Whether a quick search, on some of the device counts, finds a plan.

    Of a scenario with ``within``, a plan that takes at most so long.
    """
    try:
        problem = prepare(scenario, graph, costs, slots=quick_slots(scenario))
    except InfeasibleError:
        return False
    fastest, longest_us = Fastest(solver="cpsat", cluster=scenario.cluster), permitted_us(scenario)
    if fastest.floor_us(problem) > longest_us:
        return False
    return any(plan.objective_us <= longest_us for plan in fastest.quick(problem))


def quick_slots(scenario: Scenario) -> Sequence[Slot]:
    """The grid, of a large cluster its greatest counts, some smaller ones, and those pinned."""
    grid = scenario_slots(scenario)
    if len(grid) <= SLOTS_TRIED:
        return grid
    pinned = scenario.pin.device_counts
    few = SLOTS_TRIED // len(scenario.cluster.node_pools)
    found: list[Slot] = []
    for pool in scenario.cluster.node_pools:
        slots = [slot for slot in grid if slot.node_pool == pool.name]
        step = max(1, len(slots) // few)
        found += [slot for slot in slots if slot in slots[::-1][::step] or slot.devices in pinned]
    return found
