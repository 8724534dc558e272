"""What groups of ranks get of the links between their members."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from planner.domain.cluster import NodePool
from planner.domain.fits import CollectiveFit, FlatFit, LineFit

Numbers = Any
"""A number, or an array of numbers."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One group of ranks, or an array of such."""

    size: Numbers
    local: Numbers
    """Ranks of the group on one node."""
    link_bytes_per_s: Numbers
    """Data sheet, per device and direction, inside a node."""
    link_latency_s: Numbers
    network_bytes_per_s: Numbers
    """The group's part of what enters a node, whichever of its ranks receives it."""
    port_bytes_per_s: Numbers
    """What one rank gets of the network when all ranks of a node use it."""
    network_latency_s: Numbers
    fit: CollectiveFit | FlatFit

    @cached_property
    def nodes(self) -> Numbers:
        """Nodes that the group stands on."""
        return np.ceil(self.size / self.local)

    @cached_property
    def crosses(self) -> Numbers:
        """Whether the group spans nodes."""
        return self.size > self.local

    @cached_property
    def lines(self) -> tuple[LineFit, ...]:
        """Protocols of a ring; a flat fit has one, of one latency per step."""
        if isinstance(self.fit, CollectiveFit):
            return self.fit.ring
        return (LineFit(base=0.0, step=1.0, share=self.fit.share),)

    @property
    def launch_s(self) -> float:
        return self.fit.launch if isinstance(self.fit, FlatFit) else 0.0

    @property
    def network_share(self) -> float:
        """Of the network's bandwidth that large messages reach."""
        return self.fit.share if isinstance(self.fit, FlatFit) else self.fit.network

    def link_rate(self, share: float) -> Numbers:
        """Bytes per second inside a node."""
        if isinstance(self.fit, FlatFit) or self.fit.contention == 0:
            return share * self.link_bytes_per_s
        return share * self.link_bytes_per_s * (2 / np.maximum(2, self.local)) ** self.fit.contention

    def network_rate(self, relative: float) -> Numbers:
        """Bytes per second across nodes of a protocol so fast relative to that of large messages."""
        return min(1.0, relative) * self.network_share * self.network_bytes_per_s

    def unless_alone(self, seconds: Numbers) -> Numbers:
        """No seconds where a group is one rank."""
        return np.where(np.asarray(self.size) > 1, seconds, 0.0)[()]


def channel(node_pool: NodePool, *, size: Numbers, stride: Numbers, devices: Numbers) -> Channel:
    """The channel of groups of ``size`` ranks that stand ``stride`` apart in a pool of ``devices``.

    A group inside a node uses the devices' links. When groups span nodes, a ring enters and leaves each
    node once, and the ``min(stride, devices of a node)`` rings that pass through a node share its network.
    """
    node = node_pool.devices_per_node
    inside = (np.asarray(devices) <= node) | (node % (np.asarray(size) * stride) == 0)
    local = np.where(inside, size, np.minimum(size, np.maximum(1, node // np.asarray(stride))))
    return group_channel(node_pool, size=size, local=local[()], sharing=np.minimum(stride, node))


def group_channel(node_pool: NodePool, *, size: Numbers, local: Numbers, sharing: Numbers) -> Channel:
    """The channel of groups of which ``local`` ranks stand on a node, together with ``sharing`` groups."""
    network = node_pool.network.bandwidth / node_pool.oversubscription
    ports = min(node_pool.rails, node_pool.devices_per_node)
    return Channel(
        size=size,
        local=local,
        link_bytes_per_s=node_pool.device.link.bandwidth,
        link_latency_s=node_pool.device.link.latency,
        network_bytes_per_s=network / sharing,
        port_bytes_per_s=network / np.maximum(sharing, ports),
        network_latency_s=node_pool.network.latency,
        fit=node_pool.device.kernels.collective,
    )
