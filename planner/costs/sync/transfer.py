"""Weights on their way to a generator on devices of its own, as two calls of the dataflow.

``send`` gathers each tensor over the actor's devices, ``receive`` broadcasts it from there to the generator's
ranks, whose engines then load it: together the broadcast of `planner.costs.sync.broadcast`, each part on the
devices that it keeps busy. Where the two lie in different node pools, the weights cross the link between them
once, after the send and before the receive (`planner.costs.sync.crossing`).
"""

from functools import lru_cache

import numpy as np

from planner.costs.links.collectives import Numbers
from planner.costs.setting import Setting
from planner.costs.sync.broadcast import gathering_seconds, spreading_seconds
from planner.costs.sync.transition import onload_seconds, tensor_count, training_shard_bytes
from planner.domain.plan import RoleStrategy
from planner.domain.weights import weight_tensors


def send_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """One send of the actor; where its weights are offloaded, with their return to the device."""
    returning = onload_seconds(setting, strategy.layout) if strategy.offload == "all" else 0.0
    return float(sending_seconds(setting, strategy.layout.devices)) + returning


def receive_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """One receive of the generator."""
    return float(receiving_seconds(setting, strategy.layout.devices, replicas=strategy.layout.data))


def send_bytes(setting: Setting, strategy: RoleStrategy) -> dict[str, int]:
    """Bytes during a send, beside what is persistent."""
    buffer = {"sync_buffer": transfer_bytes(setting)}
    if strategy.offload != "all":
        return buffer
    return buffer | {"parameters": training_shard_bytes(setting, strategy.layout)}


def receive_bytes(setting: Setting) -> dict[str, int]:
    """Bytes during a receive, beside what is persistent."""
    return {"sync_buffer": transfer_bytes(setting)}


def sending_seconds(setting: Setting, devices: Numbers) -> Numbers:
    """Gathering all weights, tensor by tensor, over so many devices of the actor; a number or an array."""
    seconds = gathering_seconds(setting, devices, _tensor_bytes(setting))
    return tensor_count(setting.model) * np.asarray(seconds, dtype=np.float64)


def receiving_seconds(setting: Setting, devices: Numbers, *, replicas: Numbers = 1) -> Numbers:
    """Broadcasting all weights to so many devices of the generator, and its engines' handling of them.

    Numbers or arrays. The gathered tensors come from another device of its nodes, or from the link between
    node pools. Some trainers announce each tensor to one replica after the other.
    """
    seconds = spreading_seconds(setting.node_pool, devices, _tensor_bytes(setting), beside=True)
    engine = setting.stack.generation
    handling = engine.tensor_sync + engine.tensor_call * np.asarray(replicas)
    return tensor_count(setting.model) * (np.asarray(seconds, dtype=np.float64) + handling)


@lru_cache(maxsize=256)
def transfer_bytes(setting: Setting) -> int:
    """Of the largest tensor, which a device holds whole beside its own part."""
    elements = max(tensor.elements for tensor in weight_tensors(setting.model))
    return elements * setting.element_bytes


def _tensor_bytes(setting: Setting) -> float:
    """Of the mean tensor."""
    return setting.model.parameters() * setting.element_bytes / tensor_count(setting.model)
