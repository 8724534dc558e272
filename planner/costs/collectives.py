"""Seconds of collectives, on the links that their groups run over.

Sizes, strides and bytes may be numbers or arrays that broadcast. Ranks stand tensor fastest, then context,
then pipeline, then data (`planner.domain.parallelism`), from the first device of a node on.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.costs.rates import Rates
from planner.domain.cluster import NodePool
from planner.domain.fits import CollectiveFit, FlatFit

Numbers = Any
"""A number, or an array of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What one group of ranks gets of the links between its members."""

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

    @property
    def nodes(self) -> Numbers:
        """Nodes that the group stands on."""
        return np.ceil(self.size / self.local)

    @property
    def crosses(self) -> Numbers:
        """Whether the group spans nodes."""
        return self.size > self.local


def channel(pool: NodePool | Rates, *, size: Numbers, stride: Numbers, devices: Numbers) -> Channel:
    """The channel of groups of ``size`` ranks that stand ``stride`` apart in a pool of ``devices``.

    A group inside a node uses the devices' links. When groups span nodes, a ring enters and leaves each
    node once, and the ``min(stride, devices of a node)`` rings that pass through a node share its network.
    """
    node = pool.devices_per_node
    inside = (np.asarray(devices) <= node) | (node % (np.asarray(size) * stride) == 0)
    local = np.where(inside, size, np.minimum(size, np.maximum(1, node // np.asarray(stride))))
    return group_channel(pool, size=size, local=local, sharing=np.minimum(stride, node))


def group_channel(pool: NodePool | Rates, *, size: Numbers, local: Numbers, sharing: Numbers) -> Channel:
    """The channel of groups of which ``local`` ranks stand on a node, together with ``sharing`` groups."""
    if isinstance(pool, Rates):
        return _effective_channel(pool, size=size, local=local, sharing=sharing)
    network = pool.network.bandwidth / pool.oversubscription
    ports = min(pool.rails, pool.devices_per_node)
    return Channel(
        size=size,
        local=local,
        link_bytes_per_s=pool.device.link.bandwidth,
        link_latency_s=pool.device.link.latency,
        network_bytes_per_s=network / sharing,
        port_bytes_per_s=network / np.maximum(sharing, ports),
        network_latency_s=pool.network.latency,
        fit=pool.device.kernels.collective,
    )


def _effective_channel(rates: Rates, *, size: Numbers, local: Numbers, sharing: Numbers) -> Channel:
    return Channel(
        size=size,
        local=local,
        link_bytes_per_s=rates.link_bytes_per_s,
        link_latency_s=rates.link_latency_s,
        network_bytes_per_s=rates.network_bytes_per_s / sharing,
        port_bytes_per_s=rates.network_bytes_per_s / sharing,
        network_latency_s=rates.network_latency_s,
        fit=FlatFit(share=1.0),
    )


def all_gather_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """Ring all-gather of a buffer that is ``full_bytes`` long when complete.

    Each rank receives (g - 1) / g of the buffer in g - 1 steps (Chan et al. 2007, "Collective communication:
    theory, practice and experience").
    """
    steps = on.size - 1
    return _unless_alone(on, _ring_latency_s(on) + steps / on.size * full_bytes / _ring_bytes_per_s(on))


def reduce_scatter_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """Ring reduce-scatter; moves what the all-gather moves (Chan et al. 2007)."""
    return all_gather_seconds(on, full_bytes)


def all_reduce_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """All-reduce by the faster of ring and tree, as NCCL chooses.

    A ring takes 2 (g - 1) steps and moves 2 (g - 1) / g of the buffer; a double binary tree takes
    2 ceil(log2 g) steps and moves twice the buffer (NCCL 2.4, "Massively scale your deep learning
    training with NCCL 2.4", 2019).
    """
    ring = 2 * all_gather_seconds(on, full_bytes)
    tree = 2 * (_tree_latency_s(on) + full_bytes / _ring_bytes_per_s(on))
    return _unless_alone(on, np.minimum(ring, tree))


def small_all_reduce_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """All-reduce of a serving engine inside a node, which has kernels of its own for small messages."""
    return all_reduce_seconds(on, full_bytes)


def all_to_all_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """Each rank sends 1 / g of its buffer of ``full_bytes`` to every rank, itself included.

    Those parts that leave the node share the node's network among the group's ranks there.
    """
    far = (on.size - on.local) / on.size
    near = (on.local - 1) / on.size
    inside = on.link_latency_s + near * full_bytes / _link_bytes_per_s(on)
    across = on.network_latency_s + far * full_bytes * on.local / _network_bytes_per_s(on)
    return _unless_alone(on, _launch_s(on) + np.where(on.crosses, np.maximum(inside, across), inside))


def broadcast_seconds(on: Channel, message_bytes: Numbers) -> Numbers:
    """One rank's message to all others, in chunks along a ring: the message once over the slowest link."""
    return _unless_alone(on, _ring_latency_s(on) + message_bytes / _ring_bytes_per_s(on))


def send_seconds(on: Channel, message_bytes: Numbers) -> Numbers:
    """One message between neighbours of the group, while the other groups' ranks send theirs."""
    port = on.port_bytes_per_s * _share(on)
    rate = np.where(on.crosses, np.minimum(_link_bytes_per_s(on), port), _link_bytes_per_s(on))
    return _unless_alone(on, _launch_s(on) + _slowest_latency_s(on) + message_bytes / rate)


def _unless_alone(on: Channel, seconds: Numbers) -> Numbers:
    return np.where(np.asarray(on.size) > 1, seconds, 0.0)[()]


def _ring_latency_s(on: Channel) -> Numbers:
    """g - 1 steps, of which n - 1 enter another of the n nodes (NCCL, src/graph/tuning.cc)."""
    return _launch_s(on) + (on.size - on.nodes) * on.link_latency_s + (on.nodes - 1) * on.network_latency_s


def _tree_latency_s(on: Channel) -> Numbers:
    """A tree over the nodes, and one over the ranks of a node."""
    levels = np.ceil(np.log2(on.local)) * on.link_latency_s
    return _launch_s(on) + levels + np.ceil(np.log2(on.nodes)) * on.network_latency_s


def _ring_bytes_per_s(on: Channel) -> Numbers:
    link = _link_bytes_per_s(on)
    return np.where(on.crosses, np.minimum(link, _network_bytes_per_s(on)), link)


def _slowest_latency_s(on: Channel) -> Numbers:
    return np.where(on.crosses, np.maximum(on.link_latency_s, on.network_latency_s), on.link_latency_s)


def _link_bytes_per_s(on: Channel) -> Numbers:
    return on.link_bytes_per_s * _share(on)


def _network_bytes_per_s(on: Channel) -> Numbers:
    return on.network_bytes_per_s * _share(on)


def _share(on: Channel) -> float:
    return on.fit.share if isinstance(on.fit, FlatFit) else 0.75


def _launch_s(on: Channel) -> float:
    return on.fit.launch if isinstance(on.fit, FlatFit) else 0.0
