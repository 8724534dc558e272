"""What the words of measured training rows mean: precisions, sharding, recomputation, servers."""

import re

from planner.domain.cluster import DeviceSpec, NodePool
from planner.domain.model import Precision
from planner.domain.plan import Recompute
from planner.domain.stack import Sharding

PRECISIONS: tuple[tuple[str, Precision], ...] = (
    ("fp8", "fp8"),
    ("bf16", "bf16"),
    ("bfloat16", "bf16"),
    ("fp16", "fp16"),
    ("float16", "fp16"),
    ("half", "fp16"),
)
"""What the word contains; the first that fits counts."""

SHARDINGS: tuple[tuple[str, Sharding], ...] = (
    ("fsdp-grad", "gradients"),
    ("zero2", "gradients"),
    ("zero-2", "gradients"),
    ("shard_grad_op", "gradients"),
    ("fsdp", "full"),
    ("hsdp", "full"),
    ("zero3", "full"),
    ("zero-3", "full"),
    ("full_shard", "full"),
    ("dist", "optimizer"),
    ("zero1", "optimizer"),
    ("zero-1", "optimizer"),
    ("none", "none"),
    ("ddp", "none"),
)
"""What the word begins with; the first that fits counts."""

NETWORK_GBITS = {"ampere": 1600, "hopper": 3200, "blackwell": 3200}
"""Of a node, where a row does not say: one port of 200 or 400 Gbit/s per device (DGX A100, DGX H100 and DGX
B200 system guides)."""
USUAL_GBITS = 1600
NETWORK_LATENCY = "5 us"
NODE_DEVICES = {"gb200": 72, "gb300": 72}
"""Devices that share NVLink, eight unless listed (NVIDIA GB200 NVL72 data sheet)."""
MOST_NODES = 2048


def precision_of(word: str) -> Precision | None:
    """What matrices are multiplied in."""
    return next((precision for part, precision in PRECISIONS if part in word.casefold()), None)


def sharding_of(word: str) -> Sharding | None:
    """What data-parallel ranks cut among themselves; none for an empty or unknown word."""
    return next((kind for part, kind in SHARDINGS if word.casefold().startswith(part)), None)


def recompute_of(word: str) -> Recompute:
    """What is recomputed; nothing where a row does not say."""
    if word.casefold().startswith("full"):
        return "full"
    return "selective" if word.casefold().startswith("selective") else "none"


def servers_of(device: DeviceSpec, devices: int, *, note: str = "") -> NodePool:
    """Nodes of the device's usual servers, with the network that a row's note states.

    Parameters
    ----------
    note
        Such as ``inter-node 800Gbps (4x HDR)``.
    """
    in_node = next((count for name, count in NODE_DEVICES.items() if device.name.startswith(name)), 8)
    stated, ports = re.search(r"(\d+)\s*Gbps", note), re.search(r"(\d+)x\s*[HNFE]DR", note)
    gbits = stated.group(1) if stated else NETWORK_GBITS.get(device.architecture, USUAL_GBITS)
    return NodePool.model_validate(
        {
            "name": "measured",
            "nodes": min(MOST_NODES, -(-devices // in_node)),
            "devices_per_node": in_node,
            "device": device,
            "network": {"bandwidth": f"{gbits} Gbit/s", "latency": NETWORK_LATENCY},
            "rails": int(ports.group(1)) if ports else in_node,
        }
    )
