"""What better hardware would buy: each improvement costed by solving for it again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from planner.domain.catalog import device_names, read_device
from planner.domain.cluster import MOST_NODES, DeviceSpec, LinkSpec, NodePool
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.studies.explain import Price, price
from planner.studies.planning import SearchSettings, plan

FASTER_LINK = 2.0
"""Times the bandwidth of a link, at the same latency."""
MORE_MEMORY = (1.25, 2.0)
"""Times the memory of a device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """One improvement of a scenario's cluster."""

    words: str
    scenario: Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What an improvement buys; a price below zero is a gain."""

    words: str
    price: Price | None
    """None where nothing fits the changed cluster, as with a device of less memory."""
    reason: str = ""
    """Why nothing fits."""


def sensitivity(
    best: Plan,
    *,
    settings: SearchSettings | None = None,
    progress: Callable[[str], None] = lambda words: None,
) -> Iterator[Gain]:
    """Solve the plan's scenario again under each improvement.

    Parameters
    ----------
    best
        The best plan of its scenario.
    progress
        Told the words of each improvement before it is solved for.
    """
    for improvement in improvements(best.scenario):
        progress(improvement.words)
        try:
            after = plan(improvement.scenario, settings=settings).plan
        except InfeasibleError as error:
            yield Gain(words=improvement.words, price=None, reason=error.reason)
        else:
            yield Gain(words=improvement.words, price=price(best, after))


def improvements(scenario: Scenario) -> Iterator[Improvement]:
    """Faster links, more memory, more devices and faster devices, one node pool at a time."""
    cluster = scenario.cluster
    for pool in cluster.node_pools:
        of = f" of {pool.name}" if len(cluster.node_pools) > 1 else ""
        for words, changed in _improved(pool):
            yield Improvement(words=words + of, scenario=scenario.with_node_pool(changed))
        for device in faster_devices(pool.device, scenario):
            changed = pool.model_copy(update={"device": device})
            yield Improvement(words=_swap_words(pool, device, of), scenario=scenario.with_node_pool(changed))
    if len(cluster.node_pools) > 1:
        between = cluster.model_copy(update={"between": _faster(cluster.crossing)})
        words = f"link between node pools x{FASTER_LINK:g}"
        yield Improvement(words=words, scenario=scenario.model_copy(update={"cluster": between}))


def _improved(pool: NodePool) -> Iterator[tuple[str, NodePool]]:
    device = pool.device
    if pool.devices_per_node > 1:
        link = device.model_copy(update={"link": _faster(device.link)})
        yield f"link inside a node x{FASTER_LINK:g}", pool.model_copy(update={"device": link})
    if pool.nodes > 1:
        network = pool.model_copy(update={"network": _faster(pool.network)})
        yield f"network between nodes x{FASTER_LINK:g}", network
    for factor in MORE_MEMORY:
        more = device.model_copy(update={"memory": int(factor * device.memory)})
        yield f"memory of a device x{factor:g}", pool.model_copy(update={"device": more})
    for words, nodes in (("one node more", pool.nodes + 1), ("twice the nodes", 2 * pool.nodes)):
        if nodes <= MOST_NODES and (nodes, words) != (2, "twice the nodes"):
            yield words, pool.model_copy(update={"nodes": nodes})


def _swap_words(pool: NodePool, device: DeviceSpec, of: str) -> str:
    """Another device in the place of a pool's, whose price stays."""
    price = ", at the same price" if pool.price is not None else ""
    return f"{device.name} in the place of {pool.device.name}{of}{price}"


def faster_devices(device: DeviceSpec, scenario: Scenario) -> list[DeviceSpec]:
    """Catalog devices that compute faster in the scenario's precision and read memory no slower."""
    known = [read_device(name) for name in device_names()]
    faster = [
        other
        for other in known
        if other.kind == device.kind
        and other.peak.get(scenario.precision, 0.0) > device.peak.get(scenario.precision, 0.0)
        and other.memory_bandwidth >= device.memory_bandwidth
    ]
    return sorted(faster, key=lambda other: (other.peak[scenario.precision], other.name))


def _faster(link: LinkSpec) -> LinkSpec:
    return link.model_copy(update={"bandwidth": FASTER_LINK * link.bandwidth})
