"""Pools of processes on a Ray cluster, one process per device of the plan.

A device is Ray's ``GPU`` where there are CUDA devices. CPU nodes offer a virtual resource instead, so that
several processes share the cores of one machine.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from planner.domain.plan import Plan, Pool
from planner.errors import PlanMismatchError
from runtime.platform import DeviceKind, process_environment
from runtime.workers.host import Host, Whereabouts

DEVICE_RESOURCE: Mapping[DeviceKind, str] = {"cuda": "GPU", "cpu": "virtual_device"}
OBJECT_STORE_BYTES = 512 * 2**20
"""Of a Ray started for one CPU run; Ray spills to disk beyond."""
PLACEMENT_SECONDS = 30.0
ADDRESS_SECONDS = 5.0
RELEASE_SECONDS = 5.0
"""That devices of another job are waited for, where the plan would fit with them."""
POLL_SECONDS = 0.1
GREATEST_PORT = 65535
_OWN_RAY = {
    "worker_niceness": 0,  # by default workers get a core only where nothing else of the user wants it
    # nobody can look at it without a dashboard, and it is kept for each of the last hundred thousand calls
    "task_events_report_interval_ms": 0,
    "enable_metrics_collection": False,
}
"""What a Ray that is started for one run does otherwise."""
_OWN_RAYS_ALLOCATOR = {
    # each of their thirty threads keeps some of what it has freed, which takes minutes to fill up
    "RAY_JEMALLOC_CONF": "narenas:1,tcache:false",
    "RAY_JEMALLOC_PROFILE": "gcs_server,raylet",
}
"""Environment that such a Ray's daemons are started in, where the user's has none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one node of the cluster at hand offers."""

    id: str
    address: str
    devices: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Devices that a pool takes on one node."""

    node: Node
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The nodes of one pool, in order of their address."""

    pool: Pool
    shares: tuple[Share, ...]


@contextmanager
def ray_cluster(address: str | None, *, kind: DeviceKind, devices: int) -> Iterator[None]:
    """Connect to the cluster at an address, or start one on this machine; shut down what was started.

    Parameters
    ----------
    devices
        Virtual devices of a CPU cluster that is started here.
    """
    local = {"address": "local", "include_dashboard": False, "_system_config": _OWN_RAY}
    if address is not None:
        check_address(address)
        where = {"address": address}
    elif kind == "cpu":
        resources = {DEVICE_RESOURCE["cpu"]: devices}
        where = {**local, "num_cpus": 1, "resources": resources, "object_store_memory": OBJECT_STORE_BYTES}
    else:
        where = local
    try:
        with uninterrupted(), _environment(_OWN_RAYS_ALLOCATOR if address is None else {}):
            ray.init(**where, logging_level="ERROR", log_to_driver=False)
        yield
    finally:
        with uninterrupted():
            ray.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """With these variables as well, where they are not set; what else is set inside stays."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def check_address(address: str) -> None:
    """Raise PlanMismatchError unless something listens there; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit() or int(port) > GREATEST_PORT:
        raise PlanMismatchError(f"--address {address}: write HOST:PORT, as `ray start --head` shows it")
    try:
        socket.create_connection((host, int(port)), timeout=ADDRESS_SECONDS).close()
    except OSError as error:
        raise PlanMismatchError(
            f"--address {address}: nothing answers there ({error}); start a cluster with `ray start --head`, "
            "or leave --address out to start one on this machine"
        ) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let an interrupt wait: Ray's own processes outlive a start or a shutdown that is cut short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt


def nodes_here(kind: DeviceKind) -> tuple[Node, ...]:
    """The living nodes of the connected cluster, in order of address and id, with what they have free."""
    free = ray._private.state.available_resources_per_node()
    return _nodes(lambda node: free.get(node["NodeID"], {}), kind)


def nodes_for(plan: Plan, kind: DeviceKind) -> tuple[Node, ...]:
    """The same, once the plan fits them; or after `RELEASE_SECONDS`, or if it would not fit them all free.

    Ray hears with a delay of devices that a job has just given back.
    """
    deadline = time.monotonic() + RELEASE_SECONDS
    whole = _nodes(lambda node: node["Resources"], kind)
    while not fits(plan, nodes := nodes_here(kind), kind):
        if time.monotonic() > deadline or not fits(plan, whole, kind):
            break
        time.sleep(POLL_SECONDS)
    return nodes


def fits(plan: Plan, nodes: Sequence[Node], kind: DeviceKind) -> bool:
    """Whether the nodes offer the devices that the plan asks for."""
    try:
        assign(plan, nodes, kind)
    except PlanMismatchError:
        return False
    return True


def _nodes(resources: Callable[[dict[str, Any]], Mapping[str, float]], kind: DeviceKind) -> tuple[Node, ...]:
    """The living nodes with so much of their resources."""
    nodes = (
        Node(
            id=node["NodeID"],
            address=node["NodeManagerAddress"],
            devices=int(resources(node).get(DEVICE_RESOURCE[kind], 0)),
            memory_bytes=int(node["Resources"].get("memory", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    )
    return tuple(sorted(nodes, key=lambda node: (node.address, node.id)))


def this_machine(kind: DeviceKind, *, devices: int) -> Node:
    """This machine as the only node of a cluster that is not started yet."""
    return Node(
        id="",
        address="this machine",
        devices=devices,
        memory_bytes=psutil.virtual_memory().available,
    )


def assign(plan: Plan, nodes: Sequence[Node], kind: DeviceKind) -> tuple[Assignment, ...]:
    """Give each pool its devices, whole nodes as the plan counts them.

    Raises
    ------
    PlanMismatchError
        When the nodes do not offer the devices that the plan asks for.
    """
    free = {node.id: node.devices for node in nodes}
    assignments = []
    for pool in plan.pools:
        per_node = plan.scenario.cluster.node_pool(pool.node_pool).devices_per_node
        shares = _shares(pool.devices, per_node, nodes, free)
        if shares is None:
            raise PlanMismatchError(_shortage(plan, pool, per_node, nodes, kind))
        for share in shares:
            free[share.node.id] -= share.devices
        assignments.append(Assignment(pool=pool, shares=tuple(shares)))
    return tuple(assignments)


def _shares(wanted: int, per_node: int, nodes: Sequence[Node], free: Mapping[str, int]) -> list[Share] | None:
    shares = []
    for node in nodes:
        piece = min(wanted, per_node)
        if piece and free[node.id] >= piece:
            shares.append(Share(node=node, devices=piece))
            wanted -= piece
    return None if wanted else shares


def _shortage(plan: Plan, pool: Pool, per_node: int, nodes: Sequence[Node], kind: DeviceKind) -> str:
    name = plan.scenario.cluster.node_pool(pool.node_pool).device.name
    there = ", ".join(f"{node.address}: {node.devices}" for node in nodes) or "no nodes"
    asked = " + ".join(f"{other.devices} ({other.name})" for other in plan.pools)
    resource = DEVICE_RESOURCE[kind]
    start = f"ray start --address=... --resources='{{\"{resource}\": {per_node}}}'"
    advice = (
        f"add nodes with `{start}`" if kind == "cpu" else f"add nodes of {per_node} GPUs with `ray start`"
    )
    return (
        f"pools.{pool.name}.devices: the plan asks for {asked} devices {name}, {per_node} per node; "
        f"this cluster has {resource} free on {there}; {advice}, or plan for the cluster at hand"
    )


@contextmanager
def processes(assignments: Sequence[Assignment], kind: DeviceKind) -> Iterator[dict[str, tuple[Any, ...]]]:
    """Start one process per device; handles by pool name, in rank order; killed on leaving.

    Ranks follow node address and device number, whatever order Ray's bundles came in.
    """
    groups: list[PlacementGroup] = []
    handles: dict[str, list[Any]] = {}
    try:
        for assignment in assignments:
            groups.append(_reserve(assignment, kind))
            handles[assignment.pool.name] = _start(assignment, groups[-1], kind)
        yield {name: _by_rank(started) for name, started in handles.items()}
    finally:
        for handle in (handle for started in handles.values() for handle in started):
            ray.kill(handle)
        for group in groups:
            ray.util.remove_placement_group(group)


def _reserve(assignment: Assignment, kind: DeviceKind) -> PlacementGroup:
    nodes = [share.node.id for share in assignment.shares for _ in range(share.devices)]
    group = placement_group(
        [{DEVICE_RESOURCE[kind]: 1} for _ in nodes],
        bundle_label_selector=[{"ray.io/node-id": node} for node in nodes],
    )
    if not group.wait(PLACEMENT_SECONDS):
        ray.util.remove_placement_group(group)
        raise PlanMismatchError(
            f"pools.{assignment.pool.name}: Ray did not place {len(nodes)} devices within "
            f"{PLACEMENT_SECONDS:g} s; another job may hold them, see `ray status`"
        )
    return group


def _start(assignment: Assignment, group: PlacementGroup, kind: DeviceKind) -> list[Any]:
    demand = {"num_gpus": 1} if kind == "cuda" else {"resources": {DEVICE_RESOURCE[kind]: 1}}
    return [
        ray.remote(Host)
        .options(
            num_cpus=0,
            enable_task_events=False,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle),
            runtime_env={"env_vars": process_environment()},
            **demand,
        )
        .remote(bundle)
        for bundle in range(assignment.pool.devices)
    ]


def _by_rank(started: Sequence[Any]) -> tuple[Any, ...]:
    places: list[Whereabouts] = ray.get([handle.whereabouts.remote() for handle in started])
    return tuple(handle for _, handle in sorted(zip(places, started, strict=True), key=lambda pair: pair[0]))


@contextmanager
def light_process() -> Iterator[Any]:
    """A process without a device, for numeric calls."""
    environment = {"env_vars": process_environment(is_light=True)}
    options = {"num_cpus": 0, "enable_task_events": False, "runtime_env": environment}
    handle = ray.remote(Host).options(**options).remote(0)
    try:
        yield handle
    finally:
        ray.kill(handle)
