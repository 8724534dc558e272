"""What one node pool can do per second: the data sheet's rates times the stated efficiencies."""

from dataclasses import dataclass

from planner.domain.cluster import NodePool, Overheads
from planner.domain.model import Precision
from planner.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Effective rates of one device, its link and its node's network."""

    training_flops_per_s: float
    inference_flops_per_s: float
    prefill_flops_per_s: float
    memory_bytes_per_s: float
    link_bytes_per_s: float
    link_latency_s: float
    network_bytes_per_s: float
    """Of a whole node; the devices of a node that use it at once share it."""
    network_latency_s: float
    devices_per_node: int
    overheads: Overheads


def rates_of(node_pool: NodePool, precision: Precision) -> Rates:
    """Effective rates of a node pool.

    Raises
    ------
    SpecError
        If the device file states no peak for the precision.
    """
    device = node_pool.device
    if precision not in device.peak:
        known = ", ".join(device.peak)
        raise SpecError(
            f"{device.name}: peak names no {precision} (known: {known}); add it or change precision"
        )
    peak, share = device.peak[precision], device.efficiencies
    return Rates(
        training_flops_per_s=peak * share.training,
        inference_flops_per_s=peak * share.inference,
        prefill_flops_per_s=peak * share.prefill,
        memory_bytes_per_s=device.memory_bandwidth * share.decode,
        link_bytes_per_s=device.link.bandwidth * share.link,
        link_latency_s=device.link.latency,
        network_bytes_per_s=node_pool.network.bandwidth * share.link,
        network_latency_s=node_pool.network.latency,
        devices_per_node=node_pool.devices_per_node,
        overheads=device.overheads,
    )
