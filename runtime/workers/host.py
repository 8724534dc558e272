"""The process of one device: it hosts the roles of its pool and runs their calls in the order they arrive."""

import gc
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import ray
import torch
import torch.distributed as dist

from runtime.platform import COLLECTIVE_TIMEOUT, collective_backend, device_kind, enable, release_memory
from runtime.rows import Rows, align, concatenate
from runtime.workers.call import Call, Report, Role


class Whereabouts(NamedTuple):
    """Where a process runs; ranks are given in this order."""

    address: str
    node: str
    device: int
    pid: int


class World(NamedTuple):
    """The process group of a pool, as one rank joins it."""

    rank: int
    size: int
    address: str
    port: int


class Host:
    """Hosts the roles of one rank.

    Parameters
    ----------
    virtual_device
        Number of the device on a machine without CUDA.
    """

    def __init__(self, virtual_device: int) -> None:
        self._virtual_device = virtual_device
        self._roles: Mapping[str, Role] = {}

    def whereabouts(self) -> Whereabouts:
        """Say where this process runs."""
        context = ray.get_runtime_context()
        cuda = context.get_accelerator_ids().get("GPU", [])
        device = int(cuda[0]) if cuda else self._virtual_device
        return Whereabouts(ray.util.get_node_ip_address(), context.get_node_id(), device, os.getpid())

    def address(self) -> tuple[str, int]:
        """Address of this node, and a port on it that nothing listens on."""
        with socket.socket() as listener:
            listener.bind(("", 0))
            return ray.util.get_node_ip_address(), int(listener.getsockname()[1])

    def join(self, world: World) -> None:
        """Join the pool's process group."""
        enable()
        torch.set_num_threads(1) if device_kind() == "cpu" else torch.cuda.set_device(0)
        os.environ.update(
            RANK=str(world.rank),
            WORLD_SIZE=str(world.size),
            LOCAL_RANK="0" if device_kind() == "cuda" else str(world.rank),
            MASTER_ADDR=world.address,
            MASTER_PORT=str(world.port),
        )
        dist.init_process_group(
            collective_backend(), rank=world.rank, world_size=world.size, timeout=COLLECTIVE_TIMEOUT
        )

    def build(self, builder: Callable[[], Mapping[str, Role]], *, kept: Collection[str] = ()) -> None:
        """Make roles of this process, beside those that are kept; the others' memory is free before."""
        self._roles = {name: role for name, role in self._roles.items() if name in kept}
        gc.collect()  # engines are cycles
        release_memory()
        self._roles = {**self._roles, **builder()}

    def call(self, call: Call, *shards: Rows) -> Any:
        """Run one call on this rank's rows: the report, then each field that the call writes."""
        start_s = time.time()
        fields = align({name: concatenate(pieces, shards) for name, pieces in call.inputs.items()})
        answer = getattr(self._roles[call.role], call.method)(call, fields)
        report = Report(start_s, time.time(), answer.parts, answer.metrics, answer.kept, answer.lengths)
        outputs = [answer.fields[name] if call.answers else None for name in call.writes]
        return (report, *outputs) if outputs else report
