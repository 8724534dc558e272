"""Rings and trees under NCCL's protocols, and the sizes from which it takes each."""

import numpy as np

from planner.costs.links.channels import Channel, Numbers
from planner.domain.fits import CollectiveFit, LineFit

TABLE_BASE_S = (6.6e-6, 14.0e-6, 8.4e-6)
"""Latencies by which NCCL compares the ring protocols LL, LL128 and Simple (src/graph/tuning.cc)."""
TABLE_STEP_S = (0.6e-6, 1.9e-6, 3.4e-6)
"""The same per step over NVLink."""
TABLE_HOP_S = (2.7e-6, 4.0e-6, 14.0e-6)
"""The same per step between nodes."""
TABLE_SPEEDS = (1 / 3, 0.92, 1.0)
"""Their bandwidths there, as shares of the ring's."""


def ring_seconds(on: Channel, full_bytes: Numbers, *, passes: int, copy: float) -> Numbers:
    """A buffer of ``full_bytes`` around a ring: once in a gather or scatter, twice in an all-reduce.

    NCCL takes the protocol that its own table calls the fastest. A message never takes longer than the least
    one that would take the next protocol. Between nodes the fastest is taken, as the table would choose a
    slower protocol on some faster networks.

    Parameters
    ----------
    copy
        Speed at which large messages copy a rank's own part, as a multiple of the link's bandwidth.
    """
    if not isinstance(on.fit, CollectiveFit):
        return _protocol_seconds(on, on.lines[0], full_bytes, passes=passes, copy=copy)
    early = on.fit.early_copy
    copies = (early, early, copy)
    ways = list(zip(on.lines, copies, strict=True))
    if on.fit.table is None:
        return _fastest_seconds(on, ways, full_bytes, passes=passes)
    middle, large = _switch_points(on, on.fit.table, passes=passes)
    low = _protocol_seconds(on, ways[0][0], full_bytes, passes=passes, copy=early)
    mid_bytes, large_bytes = np.maximum(full_bytes, middle), np.maximum(full_bytes, large)
    mid = _protocol_seconds(on, ways[1][0], mid_bytes, passes=passes, copy=early)
    high = _protocol_seconds(on, ways[2][0], large_bytes, passes=passes, copy=copy)
    best = np.where((full_bytes < large) & (middle < large), np.minimum(mid, high), high)
    chosen = np.where(full_bytes < middle, np.minimum(low, best), best)
    if not np.any(on.crosses):
        return chosen
    return np.where(on.crosses, _fastest_seconds(on, ways, full_bytes, passes=passes), chosen)


def _fastest_seconds(
    on: Channel, ways: list[tuple[LineFit, float]], full_bytes: Numbers, *, passes: int
) -> Numbers:
    candidates = [_protocol_seconds(on, line, full_bytes, passes=passes, copy=own) for line, own in ways]
    return np.minimum(np.minimum(candidates[0], candidates[1]), candidates[2])


def tree_seconds(on: Channel, full_bytes: Numbers) -> Numbers:
    """All-reduce up and down a tree over the nodes, whose ranks form a chain (NCCL, src/graph/tuning.cc).

    Twice the buffer over the slowest link. A flat fit's nodes have a tree of their own.
    """
    flat = not isinstance(on.fit, CollectiveFit)
    levels = np.ceil(np.log2(on.local)) if flat else on.local - 1
    hops = np.ceil(np.log2(on.nodes))
    candidates = [
        2 * on.launch_s
        + (line.base + 2 * line.step * levels) * on.link_latency_s
        + 2 * hops * on.network_latency_s
        + 2 * full_bytes / _rate(on, line)
        for line in on.lines
    ]
    fastest = np.min(np.broadcast_arrays(*candidates), axis=0)
    return fastest if flat else np.where(on.crosses, fastest, np.inf)


def _protocol_seconds(
    on: Channel, line: LineFit, full_bytes: Numbers, *, passes: int, copy: float
) -> Numbers:
    """The ring's steps under one protocol; n - 1 of g - 1 steps enter another of the n nodes."""
    steps, hops = passes * (on.size - 1), passes * (on.nodes - 1)
    latency = passes * on.launch_s + (line.base + line.step * (steps - hops)) * on.link_latency_s
    moved = steps / on.size * full_bytes / _rate(on, line)
    copied = full_bytes / on.size / (copy * on.link_bytes_per_s)
    return latency + hops * on.network_latency_s + moved + copied


def _rate(on: Channel, line: LineFit) -> Numbers:
    """Bytes per second of a ring's slowest link."""
    link = on.link_rate(line.share)
    network = on.network_rate(line.share / on.lines[-1].share)
    return np.where(on.crosses, np.minimum(link, network), link)


def _switch_points(on: Channel, table: float, *, passes: int) -> tuple[Numbers, Numbers]:
    """Bytes from which NCCL's table prefers LL128, and from which Simple; equal where LL128 never wins."""
    steps, hops = passes * (on.size - 1), passes * (on.nodes - 1)
    link = on.link_rate(table)
    rate = np.where(on.crosses, np.minimum(link, on.network_rate(1.0)), link)
    share = np.maximum(steps, 1) / on.size / rate
    base = [
        base + step * (steps - hops) + hop * hops
        for base, step, hop in zip(TABLE_BASE_S, TABLE_STEP_S, TABLE_HOP_S, strict=True)
    ]

    def crossing(slow: int, fast: int) -> Numbers:
        return (base[fast] - base[slow]) / (share * (1 / TABLE_SPEEDS[slow] - 1 / TABLE_SPEEDS[fast]))

    large = np.maximum(crossing(0, 2), crossing(1, 2))
    return np.minimum(crossing(0, 1), large), large
