"""In each phase everything that lives or peaks together fits a device, and what is offloaded its host."""

from collections.abc import Iterator

from planner.costs.uncertainty import banded_memory
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan
from planner.search.certify.call_costs import CallCosts
from planner.search.certify.violation import Violation
from planner.units import format_bytes


def memory_violations(plan: Plan, graph: DataflowGraph, costs: CallCosts) -> Iterator[Violation]:
    """What is wrong with the bytes of roles in sound pools and strategies."""
    for role in sorted(set(plan.prediction.memory) - set(graph.roles)):
        yield Violation(rule="bytes", message=f"{role} has bytes, but no place in the plan")
    for pool in plan.pools:
        node_pool = plan.scenario.cluster.node_pool(pool.node_pool)
        device, there = node_pool.device.name, node_pool.device.usable_memory
        memory = {role: costs.memory(role, plan.strategies[role], node_pool) for role in pool.roles}
        for role in pool.roles:
            if banded_memory(memory[role]) != plan.prediction.memory.get(role):
                yield Violation(rule="bytes", message=f"{role}: the plan's are not the cost model's")
        persistent = sum(each.persistent_bytes for each in memory.values())
        for call in graph.model_calls:
            if call.role in pool.roles:
                needed = persistent + sum(memory[call.role].transient.get(call.name, {}).values())
                if needed > there:
                    beside = f"{pool.name}: {call.name} beside {', '.join(pool.roles)}"
                    message = f"needs {format_bytes(needed)} per device, {device} has {format_bytes(there)}"
                    yield Violation(rule="memory", message=f"{beside} {message}")
        host, room = sum(each.host for each in memory.values()), node_pool.host_memory_per_device
        if room is not None and host > room:
            message = f"offloads {format_bytes(host)} per device, its host has {format_bytes(room)} for it"
            yield Violation(rule="host memory", message=f"{pool.name} {message}")
