"""Seconds of collectives, on the links that their groups run over.

Sizes, strides and bytes may be numbers or arrays that broadcast. Ranks stand tensor fastest, then context,
then pipeline, then data (`planner.domain.parallelism`), from the first device of a node on. Volumes are those
of Chan et al. 2007 ("Collective communication: theory, practice and experience").
"""

import numpy as np

from planner.costs.links.channels import Channel, Numbers, channel, group_channel
from planner.costs.links.rings import ring_seconds, tree_seconds
from planner.domain.fits import CollectiveFit, EngineReduceFit, LineFit

__all__ = [
    "Channel",
    "Numbers",
    "all_gather_seconds",
    "all_reduce_seconds",
    "all_to_all_seconds",
    "broadcast_seconds",
    "channel",
    "group_channel",
    "reduce_scatter_seconds",
    "send_seconds",
    "small_all_reduce_seconds",
]


def all_gather_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """All-gather of a buffer that is ``full_bytes`` long when complete.

    A ring: each rank receives (g - 1) / g of the buffer in g - 1 steps, and copies its own part.
    """
    copy = on.fit.gather_copy if isinstance(on.fit, CollectiveFit) else np.inf
    return on.unless_alone(ring_seconds(on, full_bytes, passes=1, copy=copy))


def reduce_scatter_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """Reduce-scatter of a buffer of ``full_bytes`` on every rank; moves what the all-gather moves."""
    copy = on.fit.scatter_copy if isinstance(on.fit, CollectiveFit) else np.inf
    return on.unless_alone(ring_seconds(on, full_bytes, passes=1, copy=copy))


def all_reduce_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """All-reduce of ``full_bytes`` by the fastest of ring, tree and switch.

    A ring moves 2 (g - 1) / g of the buffer in 2 (g - 1) steps. Where a switch reduces, each rank sends its
    buffer once and one part of the result, (g + 1) / g (Klenk et al. 2020, "An in-network architecture for
    accelerating shared-memory multiprocessor collectives").
    """
    copy = on.fit.reduce_copy if isinstance(on.fit, CollectiveFit) else np.inf
    ring = ring_seconds(on, full_bytes, passes=2, copy=copy)
    fastest = np.minimum(ring, tree_seconds(on, full_bytes))
    if isinstance(on.fit, CollectiveFit) and on.fit.switch is not None:
        switch = _line_seconds(on, on.fit.switch, steps=2, moved=full_bytes * (1 + 1 / on.size))
        fastest = np.where(on.crosses, fastest, np.minimum(fastest, switch))
    return on.unless_alone(fastest)


def small_all_reduce_seconds(on: Channel, full_bytes: Numbers, *, engine: str = "vllm") -> Numbers:
    """All-reduce of a serving engine, which has kernels of its own for small messages inside a node.

    One shot reads g - 1 whole buffers, two shots 2 (g - 1) / g of one; what is too large for either, or
    crosses nodes, goes to NCCL (vLLM, ``custom_all_reduce.py`` and ``symm_mem.py``). Engines that were not
    measured have vLLM's kernels.
    """
    general = all_reduce_seconds(on, full_bytes)
    engines = on.fit.engines if isinstance(on.fit, CollectiveFit) else {}
    own = engines.get(engine, engines.get("vllm"))
    if own is None:
        return general
    one = _line_seconds(on, own.one_shot, steps=on.size - 1, moved=(on.size - 1) * full_bytes)
    parts = 2 * (on.size - 1) / on.size
    two = _line_seconds(on, own.two_shot, steps=on.size - 1, moved=parts * full_bytes)
    takes = (full_bytes < _limit(on, own)) & ~np.asarray(on.crosses)
    return on.unless_alone(np.where(takes, np.minimum(general, np.minimum(one, two)), general))


def all_to_all_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """Each rank sends 1 / g of its buffer of ``full_bytes`` to every rank, itself included.

    Ranks of a node send what leaves it through the node's network at once, while they exchange the rest.
    """
    near, far = (on.local - 1) / on.size, (on.size - on.local) / on.size
    copied = full_bytes / on.size / (_exchange_copy(on) * on.link_bytes_per_s)
    inside = _exchange_seconds(on, steps=on.local - 1, moved=near * full_bytes)
    wire = full_bytes * np.maximum(far * on.local / on.network_rate(1.0), (near + far) / on.link_bytes_per_s)
    across = on.network_latency_s + _exchange_seconds(on, steps=on.size - 1, moved=0.0) + wire
    return on.unless_alone(copied + np.where(on.crosses, np.maximum(inside, across), inside))


def broadcast_seconds(on: Channel, message_bytes: Numbers) -> Numbers:
    """One rank's message to all others, in chunks along a ring: the message once over the slowest link."""
    whole = message_bytes * on.size / np.maximum(1, on.size - 1)
    return on.unless_alone(ring_seconds(on, whole, passes=1, copy=np.inf))


def send_seconds(on: Channel, message_bytes: Numbers) -> Numbers:
    """One message between neighbours of the group, while the other groups' ranks send theirs."""
    if isinstance(on.fit, CollectiveFit) and on.fit.send is not None:
        inside = _line_seconds(on, on.fit.send, steps=1, moved=message_bytes)
    else:
        inside = _exchange_seconds(on, steps=1, moved=message_bytes)
    wire = message_bytes / (on.port_bytes_per_s * on.network_share)
    return on.unless_alone(np.where(on.crosses, np.maximum(inside, wire) + on.network_latency_s, inside))


def _exchange_seconds(on: Channel, *, steps: Numbers, moved: Numbers) -> Numbers:
    """The fastest of the ways in which pairs send."""
    lines = on.fit.exchange if isinstance(on.fit, CollectiveFit) else on.lines
    seconds = _line_seconds(on, lines[0], steps=steps, moved=moved)
    for line in lines[1:]:
        seconds = np.minimum(seconds, _line_seconds(on, line, steps=steps, moved=moved))
    return seconds


def _exchange_copy(on: Channel) -> float:
    return on.fit.exchange_copy if isinstance(on.fit, CollectiveFit) else np.inf


def _line_seconds(on: Channel, line: LineFit, *, steps: Numbers, moved: Numbers) -> Numbers:
    """One line inside a node."""
    latency = (line.base + line.step * steps) * on.link_latency_s
    return on.launch_s + latency + moved / on.link_rate(line.share)


def _limit(on: Channel, own: EngineReduceFit) -> Numbers:
    has_switch = isinstance(on.fit, CollectiveFit) and on.fit.switch is not None
    return np.where((np.asarray(on.size) >= 4) & has_switch, own.switch_limit, own.limit)
