"""What a plan asks for, compared with what this runtime can do and the cluster at hand has."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from planner.algorithms import dataflow_of
from planner.domain.capabilities import RUNTIME
from planner.domain.plan import Plan, Pool
from planner.domain.runnable import plan_refusals, scenario_refusals, strategy_refusals
from planner.domain.scenario import Scenario
from planner.errors import PlanMismatchError
from planner.units import format_bytes
from runtime.engines.limits import refuse
from runtime.platform import DeviceKind, device_kind, device_memories
from runtime.resource_pool import Assignment, Node, assign, nodes_for, ray_cluster, this_machine
from runtime.transfer import split_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReservation:
    """What one pool will take."""

    pool: str
    roles: tuple[str, ...]
    processes: tuple[tuple[str, int], ...]
    """Node address and processes there."""
    bytes_per_process: int

    def __str__(self) -> str:
        places = ", ".join(f"{count} on {address}" for address, count in self.processes)
        size = format_bytes(self.bytes_per_process)
        return f"{self.pool} ({', '.join(self.roles)}): processes {places}; {size} each"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would start where, and whether the cluster can hold it."""

    kind: DeviceKind
    address: str
    pools: tuple[PoolReservation, ...]
    problems: tuple[str, ...]
    """Why the cluster can't hold the plan; empty when it can."""

    @property
    def fits(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The value as JSON can hold it."""
        return {**asdict(self), "fits": self.fits}

    def __str__(self) -> str:
        lines = [f"{self.address} ({self.kind})"]
        lines += [str(pool) for pool in self.pools]
        lines += [f"does not fit: {problem}" for problem in self.problems]
        return "\n".join(lines)


def dry_run(plan: Plan, *, address: str | None = None) -> DryRun:
    """Say what a run would start where, without starting it.

    Without an address nothing is started at all: this machine is looked at, its CUDA devices and their memory
    or its own memory.

    Raises
    ------
    PlanMismatchError
        When the runtime can't do what the plan asks for; names the field.
    """
    check(plan)
    kind = device_kind()
    if address is None:
        memories = device_memories()
        devices = virtual_devices(plan) if kind == "cpu" else len(memories)
        report = _reserve(plan, [this_machine(kind, devices=devices)], kind, "a new local Ray")
        return replace(report, problems=(*report.problems, *device_problems(plan, memories)))
    with ray_cluster(address, kind=kind, devices=0):
        return _reserve(plan, nodes_for(plan, kind), kind, address)


def virtual_devices(plan: Plan) -> int:
    """Devices of a Ray that is started on this machine for the plan."""
    return min(
        plan.used_devices,
        max(pool.devices_per_node for pool in plan.scenario.cluster.node_pools),
    )


def check(plan: Plan) -> None:
    """Refuse a plan that this runtime or this machine's kind of device can't execute.

    Raises
    ------
    PlanMismatchError
        Lists everything that it can't do, one a line, each with the field's name.
    """
    refuse([*_missing_inputs(plan), *_unsupported(plan)])


def carried_prompts(scenario: Scenario) -> int:
    """Prompts that stay under way when an iteration ends."""
    return math.ceil(scenario.workload.prompts * scenario.rollouts.carry)


def bytes_per_process(plan: Plan, pool: Pool) -> int:
    """Bytes of one process of the pool: what Python and the libraries take, its roles, the greatest peak."""
    memory = [plan.prediction.memory[role] for role in pool.roles]
    reserved = plan.scenario.cluster.node_pool(pool.node_pool).device.reserved
    persistent = sum(role.persistent_bytes for role in memory)
    return reserved + persistent + max(role.transient_bytes for role in memory)


def memory_problems(plan: Plan, assignments: Sequence[Assignment]) -> list[str]:
    """Nodes whose memory does not hold the processes that the plan puts there; of CPU devices."""
    wanted: dict[Node, int] = {}
    for assignment in assignments:
        for share in assignment.shares:
            size = share.devices * bytes_per_process(plan, assignment.pool)
            wanted[share.node] = wanted.get(share.node, 0) + size
    return [
        f"{node.address}: the processes need {format_bytes(size)}, free are "
        f"{format_bytes(node.memory_bytes)}; close other programs or plan for fewer devices per node"
        for node, size in wanted.items()
        if size > node.memory_bytes
    ]


def device_problems(plan: Plan, memories: Sequence[int]) -> Iterator[str]:
    """Pools whose processes are larger than the smallest of some CUDA devices, which the driver says.

    It says less than the data sheet, by a part of what a plan leaves free (`DeviceSpec.reserved`).
    """
    for pool in plan.pools if memories else ():
        device = plan.scenario.cluster.node_pool(pool.node_pool).device
        size, there = bytes_per_process(plan, pool), min(memories)
        if there < min(size, device.usable_memory):
            yield (
                f"pools.{pool.name}: a process needs {format_bytes(size)} of a {device.name}, a device of "
                f"this machine has {format_bytes(there)}; plan for the devices at hand"
            )


def _reserve(plan: Plan, nodes: Sequence[Node], kind: DeviceKind, address: str) -> DryRun:
    try:
        assignments = assign(plan, nodes, kind)
    except PlanMismatchError as error:
        return DryRun(kind=kind, address=address, pools=(), problems=(str(error),))
    problems = memory_problems(plan, assignments) if kind == "cpu" else []
    pools = tuple(
        PoolReservation(
            pool=assignment.pool.name,
            roles=assignment.pool.roles,
            processes=tuple((share.node.address, share.devices) for share in assignment.shares),
            bytes_per_process=bytes_per_process(plan, assignment.pool),
        )
        for assignment in assignments
    )
    return DryRun(kind=kind, address=address, pools=pools, problems=tuple(problems))


def _carry_problems(plan: Plan) -> Iterator[str]:
    """Why prompts could not be carried on within the limit: those of a replica leave in one iteration."""
    scenario = plan.scenario
    if not scenario.rollouts.carry:
        return
    if {call.work for call in dataflow_of(scenario).calls} & {"candidates", "greedy"}:
        yield f"scenario.rollouts.carry: {scenario.algorithm.name} has to know its prompts beforehand; use 0"
    prompts, carried = scenario.workload.prompts, carried_prompts(scenario)
    for role, strategy in plan.strategies.items():
        if strategy.generate is None:
            continue
        first = split_rows(prompts + carried, strategy.generate.replicas)
        each = split_rows(prompts, strategy.generate.replicas)
        if any(len(all_) > 2 * len(own) for all_, own in zip(first, each, strict=True)):
            yield (
                f"scenario.rollouts.carry: {carried} prompts beside {prompts} on the "
                f"{strategy.generate.replicas} replicas of the {role} are more than leave in one iteration; "
                "carry fewer"
            )


def _missing_inputs(plan: Plan) -> Iterator[str]:
    if plan.scenario.run is None:
        yield "scenario.run: missing; a run needs a prompts file, say `run: {prompts: prompts.jsonl}`"
    for role in plan.strategies:
        if plan.scenario.model_of(role).folder is None:
            yield (
                f"scenario.models.{role}.folder: missing; a run needs weights, give the model as a folder in "
                "Hugging Face format"
            )


def _unsupported(plan: Plan) -> Iterator[str]:
    here = device_kind()
    for pool in plan.pools:
        device = plan.scenario.cluster.node_pool(pool.node_pool).device
        if device.kind != here:
            yield (
                f"scenario.cluster: {pool.name} asks for {device.name} ({device.kind}), this machine has "
                f"{here} only; plan for a cluster of {here} devices or run where there is {device.kind}"
            )
    yield from plan_refusals(RUNTIME, plan)
    yield from _carry_problems(plan)
    yield from (f"scenario.{problem}" for problem in scenario_refusals(RUNTIME, plan.scenario))
    for role, strategy in plan.strategies.items():
        for problem in strategy_refusals(RUNTIME, plan.scenario, role, strategy):
            yield f"strategies.{role}: {problem}"
