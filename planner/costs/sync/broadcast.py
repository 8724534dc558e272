"""The transition to generators on devices of their own: a broadcast, today's buckets, and deltas."""

from typing import Literal

import numpy as np

from planner.costs.links.collectives import (
    Numbers,
    all_gather_seconds,
    broadcast_seconds,
    channel,
    group_channel,
    send_seconds,
)
from planner.costs.setting import Setting
from planner.costs.sync.transition import (
    Transition,
    engine_seconds,
    generation_shard_bytes,
    onload_seconds,
    tensor_count,
)
from planner.domain.cluster import NodePool
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy

Mode = Literal["openrlhf", "broadcast", "checkpoint-engine", "delta"]

ENGINE_CALL_S = 0.7e-3
"""One remote call per tensor and engine in OpenRLHF: 4 to 11 s for 7B between 8 and 128 devices, read off
HybridFlow's figure 14."""
PAUSE_S = 1.6
"""Stopping and resuming requests of engines that sleep between syncs (verl's documentation of weight syncs:
what 7B takes between two nodes beyond bytes and reloading)."""
BUCKETS_S = 8e-3
"""Handing over the few buckets of a checkpoint engine (the same, 7B inside a node)."""
CHANGED = 0.02
"""Share of the weights that a delta moves, indices included."""


def broadcast_transition(
    setting: Setting,
    train: ParallelStrategy,
    generate: GenerationStrategy,
    *,
    to: NodePool | None = None,
    mode: Mode = "broadcast",
    is_asleep: bool = False,
) -> Transition:
    """Weights of a trainer in one pool to generators in another.

    Parameters
    ----------
    to
        Node pool of the generators; none when they share the trainer's nodes.
    mode
        ``openrlhf``: each tensor gathered to one trainer, announced to every engine, broadcast to all ranks.
        ``broadcast``: the same without announcements (verl's NCCL). ``checkpoint-engine``: trainers send each
        generator rank its own shard, in buckets. ``delta``: only what changed.
    is_asleep
        Whether engines and trainer keep their weights in host memory between syncs.
    """
    weights = setting.model.parameters() * setting.element_bytes
    shard = generation_shard_bytes(setting, generate)
    moved = {"checkpoint-engine": shard, "delta": CHANGED * weights}.get(mode, weights)
    seconds = _moving_seconds(setting, train, generate, to=to, mode=mode, moved=moved)
    if mode == "openrlhf":
        seconds += setting.stack.generation.wake
    if is_asleep:
        seconds += PAUSE_S + engine_seconds(setting, generate) + onload_seconds(setting, train)
    elif mode != "checkpoint-engine":
        seconds += tensor_count(setting.model) * setting.stack.generation.tensor_sync
    return Transition(bytes=moved, seconds=seconds, peak_bytes=shard, redundant_bytes=0.0)


def _moving_seconds(
    setting: Setting,
    train: ParallelStrategy,
    generate: GenerationStrategy,
    *,
    to: NodePool | None,
    mode: Mode,
    moved: float,
) -> float:
    target = to or setting.node_pool
    if mode == "checkpoint-engine":
        pair = group_channel(target, size=2, local=1 if to else 2, sharing=target.devices_per_node)
        return BUCKETS_S + float(send_seconds(pair, moved))
    tensors = tensor_count(setting.model)
    gathered = float(gathering_seconds(setting, train.devices, moved / tensors))
    sent = float(spreading_seconds(target, generate.devices, moved / tensors, beside=to is None))
    calls = ENGINE_CALL_S * generate.replicas if mode == "openrlhf" else 0.0
    return tensors * (gathered + sent + calls)


def gathering_seconds(setting: Setting, devices: Numbers, tensor_bytes: float) -> Numbers:
    """One tensor from all of a trainer's devices to one of them."""
    trainers = channel(setting.node_pool, size=devices, stride=1, devices=devices)
    return all_gather_seconds(trainers, tensor_bytes)


def spreading_seconds(node_pool: NodePool, devices: Numbers, tensor_bytes: float, *, beside: bool) -> Numbers:
    """One tensor from a trainer to all of a generator's devices, as many of them on a node as it has.

    Parameters
    ----------
    beside
        Whether the trainer stands on a node of the generators.
    """
    ranks = 1 + np.asarray(devices)
    local = np.minimum(ranks if beside else np.asarray(devices), node_pool.devices_per_node)
    ports = min(node_pool.rails, node_pool.devices_per_node)
    return broadcast_seconds(group_channel(node_pool, size=ranks, local=local, sharing=ports), tensor_bytes)
