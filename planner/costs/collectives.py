"""Seconds of collectives, on the links that their groups run over.

Volumes and steps are those of Chan et al. 2007 ("Collective communication: theory, practice and
experience"): a ring moves (g - 1) / g of the buffer per all-gather in g - 1 steps. Ranks stand tensor
fastest, then pipeline, then data (`planner.domain.parallelism`), from the first device of a node on.
"""

import math
from dataclasses import dataclass

from planner.costs.rates import Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What one group of ranks gets of the links between its members."""

    size: int
    bytes_per_s: float
    latency_s: float


def channel(rates: Rates, *, size: int, stride: int, devices: int) -> Channel:
    """The channel of groups of ``size`` ranks that stand ``stride`` apart in a pool of ``devices``.

    A group inside a node uses the devices' links. When groups span nodes, a ring enters and leaves each
    node once, and the ``min(stride, devices of a node)`` rings that pass through a node share its network.
    """
    node = rates.devices_per_node
    if size == 1 or devices <= node or node % (size * stride) == 0:
        return Channel(size=size, bytes_per_s=rates.link_bytes_per_s, latency_s=rates.link_latency_s)
    share = rates.network_bytes_per_s / min(stride, node)
    return Channel(
        size=size,
        bytes_per_s=min(rates.link_bytes_per_s, share),
        latency_s=max(rates.link_latency_s, rates.network_latency_s),
    )


def all_gather_seconds(on: Channel, full_bytes: float) -> float:
    """Ring all-gather of a buffer that is ``full_bytes`` long when complete (Chan et al. 2007)."""
    if on.size == 1:
        return 0.0
    return (on.size - 1) * (on.latency_s + full_bytes / on.size / on.bytes_per_s)


def reduce_scatter_seconds(on: Channel, full_bytes: float) -> float:
    """Ring reduce-scatter; moves what the all-gather moves (Chan et al. 2007)."""
    return all_gather_seconds(on, full_bytes)


def all_reduce_seconds(on: Channel, full_bytes: float) -> float:
    """All-reduce by the faster of ring and tree, as NCCL chooses.

    A ring takes 2 (g - 1) steps and moves 2 (g - 1) / g of the buffer; a double binary tree takes
    2 ceil(log2 g) steps and moves twice the buffer (NCCL 2.4, "Massively scale your deep learning
    training with NCCL 2.4", 2019).
    """
    if on.size == 1:
        return 0.0
    ring = 2 * all_gather_seconds(on, full_bytes)
    tree = 2 * (math.ceil(math.log2(on.size)) * on.latency_s + full_bytes / on.bytes_per_s)
    return min(ring, tree)


def send_seconds(on: Channel, message_bytes: float) -> float:
    """One message between neighbours of the group."""
    return 0.0 if on.size == 1 else on.latency_s + message_bytes / on.bytes_per_s
