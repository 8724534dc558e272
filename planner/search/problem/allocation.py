"""How many devices of which node pool a colocated set may have: one grid for all solvers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.domain.cluster import Cluster, NodePool
from planner.domain.scenario import Scenario

SIGNIFICANT_BITS = 5
"""Of a count of whole nodes."""


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A device count on one node pool; a colocated set takes exactly one slot."""

    node_pool: str
    devices: int

    def __str__(self) -> str:
        return f"{self.devices} devices of {self.node_pool}"


def scenario_slots(scenario: Scenario) -> tuple[Slot, ...]:
    """The grid of a scenario, node pools in their order, device counts rising.

    That of its cluster, lone slots among them, and the device counts of whole nodes that a pin names, none
    beyond its greatest pool.
    """
    named = scenario.pin.device_counts
    lone = lone_slots(scenario.cluster)
    counts = {
        pool.name: {*device_counts(pool), *(count for count in named if _is_whole(pool, count))}
        | {slot.devices for slot in lone if slot.node_pool == pool.name}
        for pool in scenario.cluster.node_pools
    }
    most = scenario.maximum_devices
    return tuple(
        Slot(name, devices)
        for name, own in counts.items()
        for devices in sorted(own)
        if most is None or devices <= most
    )


def device_counts(node_pool: NodePool) -> list[int]:
    """Device counts that pools may take of a node pool, whatever the others take.

    On one node every count; on several nodes some counts of whole nodes (`node_counts`), or a part of one
    node out of a chain of divisors. Such pools always pack into nodes: whole nodes first, then the parts in
    falling order, each into the first node with room. A part divides every greater part and the node, so the
    room left in any node is a multiple of the part at hand; while devices are left at all, one node therefore
    has room for it. No part straddles two nodes, and each starts at a multiple of its size, so that its
    tensor groups stay inside the node.

    >>> from planner.domain.cluster import Cluster, NodePool
    >>> device_counts(NodePool.model_construct(name="a", nodes=3, devices_per_node=4))
    [1, 2, 4, 8, 12]
    >>> device_counts(NodePool.model_construct(name="a", nodes=1, devices_per_node=4))
    [1, 2, 3, 4]
    """
    per_node = node_pool.devices_per_node
    if node_pool.nodes == 1:
        return list(range(1, per_node + 1))
    return [*divisor_chain(per_node)[:-1], *(per_node * nodes for nodes in node_counts(node_pool.nodes))]


def lone_slots(cluster: Cluster) -> tuple[Slot, ...]:
    """Every other part of a node where there are several: for plans that take no more than one node of them.

    >>> from planner.domain.cluster import Cluster, NodePool
    >>> pool = NodePool.model_construct(name="a", nodes=3, devices_per_node=4)
    >>> [str(slot) for slot in lone_slots(Cluster.model_construct(node_pools=(pool,)))]
    ['3 devices of a']
    """
    return tuple(
        Slot(pool.name, devices)
        for pool in cluster.node_pools
        for devices in range(1, pool.devices_per_node)
        if devices not in device_counts(pool)
    )


def node_counts(most: int) -> list[int]:
    """Counts of whole nodes: all up to 32, and beyond those of five significant bits.

    These are m 2^j with 16 <= m < 32. Neighbours differ by at most a sixteenth, and a greater cluster's
    contain a smaller one's.

    >>> node_counts(41)[-6:], len(node_counts(2048))
    ([31, 32, 34, 36, 38, 40], 128)
    """
    counts = range(1, most + 1)
    return [count for count in counts if count == count >> _spare_bits(count) << _spare_bits(count)]


def _spare_bits(count: int) -> int:
    return max(0, count.bit_length() - SIGNIFICANT_BITS)


def _is_whole(node_pool: NodePool, devices: int) -> bool:
    """Whether so many devices are whole nodes of several."""
    return devices % node_pool.devices_per_node == 0 and devices <= node_pool.devices


def divisor_chain(number: int) -> list[int]:
    """Divisors of which each divides the next: powers of two first, since they divide head counts.

    For a power of two these are all its divisors.

    >>> divisor_chain(8), divisor_chain(12)
    ([1, 2, 4, 8], [1, 2, 4, 12])
    """
    chain = [1]
    while chain[-1] < number:
        rest = number // chain[-1]
        smallest = next(factor for factor in range(2, rest + 1) if rest % factor == 0)
        chain.append(chain[-1] * smallest)
    return chain


def enumerate_allocations(
    choices: Sequence[Sequence[Slot]], capacities: Mapping[str, int]
) -> Iterator[tuple[Slot, ...]]:
    """All ways to give each set one of its slots without exceeding any node pool.

    Parameters
    ----------
    choices
        Slots that each set may take.
    capacities
        Devices of each node pool.

    >>> choices = [[Slot("a", 1), Slot("a", 2)]] * 2
    >>> [tuple(slot.devices for slot in slots) for slots in enumerate_allocations(choices, {"a": 3})]
    [(1, 1), (1, 2), (2, 1)]
    """
    if not choices:
        yield ()
        return
    for slot in choices[0]:
        left = capacities[slot.node_pool] - slot.devices
        if left >= 0:
            for rest in enumerate_allocations(choices[1:], {**capacities, slot.node_pool: left}):
                yield (slot, *rest)
