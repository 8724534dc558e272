"""Roles are partitioned into pools, pools lie in node pools, and both obey the scenario."""

from collections import Counter
from collections.abc import Iterator

from planner.domain.dataflow import ACTOR, GENERATOR, DataflowGraph
from planner.domain.placement import Placement
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.search.certify.violation import Violation


def pool_violations(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """What is wrong with the pools, whatever happens in them."""
    yield from _roles(plan, graph)
    yield from _names(plan, graph)
    yield from _devices(plan)
    for rule, message in broken_demands(plan.scenario, plan.placement):
        yield Violation(rule=rule, message=message)


def _roles(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """Each role that takes devices has one pool and one strategy."""
    placed = Counter(role for pool in plan.pools for role in pool.roles)
    for role in graph.roles:
        if placed[role] != 1:
            yield Violation(rule="partition", message=f"{role} is in {placed[role]} pools, not in one")
    for role in sorted(set(placed) - set(graph.roles)):
        kind = "a service, which takes no devices" if role in graph.services else "no role"
        yield Violation(rule="partition", message=f"in the dataflow {graph.name} {role} is {kind}")
    for pool in plan.pools:
        if not pool.roles:
            yield Violation(rule="partition", message=f"{pool.name} takes {pool.devices} devices for no role")
    for role in sorted(set(graph.roles) - set(plan.strategies)):
        yield Violation(rule="strategies", message=f"{role} takes devices, but has no strategy")
    for role in sorted(set(plan.strategies) - set(graph.roles)):
        message = f"{role} has a strategy, but in the dataflow {graph.name} it takes no devices"
        yield Violation(rule="strategies", message=message)
    staleness = plan.scenario.staleness if GENERATOR in graph.roles else 0
    if graph.staleness != staleness:
        message = f"generation runs {graph.staleness} iterations ahead, permitted are {staleness}"
        yield Violation(rule="staleness", message=message)


def _names(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    for index, pool in enumerate(plan.pools):
        if pool.name != f"pool-{index}":
            yield Violation(rule="names", message=f"the pool at place {index} is called {pool.name}")
    ranks = {role: rank for rank, role in enumerate(graph.roles)}
    firsts = [min(ranks.get(role, -1) for role in pool.roles) for pool in plan.pools if pool.roles]
    if firsts != sorted(firsts):
        yield Violation(rule="names", message="pools do not stand in the order of their first roles")


def _devices(plan: Plan) -> Iterator[Violation]:
    """Pools lie inside one node pool each, which has room for all of them; idle devices are the rest."""
    node_pools = {node_pool.name: node_pool for node_pool in plan.scenario.cluster.node_pools}
    most = plan.scenario.maximum_devices
    for pool in plan.pools:
        if pool.node_pool not in node_pools:
            yield Violation(rule="node pools", message=f"{pool.name}: there is no node pool {pool.node_pool}")
        if most is not None and pool.devices > most:
            message = f"{pool.name} takes {pool.devices} devices, a pool may take {most}"
            yield Violation(rule="maximum devices", message=message)
    for name, node_pool in node_pools.items():
        sizes = [pool.devices for pool in plan.pools if pool.node_pool == name]
        if sum(sizes) > node_pool.devices:
            message = f"pools take {sum(sizes)} of the {node_pool.devices} devices of {name}"
            yield Violation(rule="devices", message=message)
        elif node_pool.nodes > 1 and not _packs(sizes, node_pool.nodes, node_pool.devices_per_node):
            message = f"pools of {sizes} devices do not pack into {node_pool.nodes} nodes of {name}"
            yield Violation(rule="nodes", message=message)
    taken = plan.used_devices
    if plan.idle_devices != plan.scenario.cluster.devices - taken:
        message = f"{plan.idle_devices} are called idle, pools leave {plan.scenario.cluster.devices - taken}"
        yield Violation(rule="idle devices", message=message)


def _packs(sizes: list[int], nodes: int, per_node: int) -> bool:
    """Whether pools fit as whole nodes and parts of one node, biggest first."""
    room = [per_node] * nodes
    for size in sorted(sizes, reverse=True):
        whole, part = divmod(size, per_node)
        if whole and part:
            return False
        fits = [node for node, left in enumerate(room) if left >= (part or per_node)]
        if len(fits) < max(1, whole):
            return False
        for node in fits[: max(1, whole)]:
            room[node] -= part or per_node
    return True


def broken_demands(scenario: Scenario, placement: Placement) -> Iterator[tuple[str, str]]:
    """Colocate and apart, by rule, where a placement breaks them.

    A generator is of use only on devices that the actor does not have.
    """
    sets = [set(roles) for roles in placement]
    for group in scenario.colocate:
        if not any(set(group) <= roles for roles in sets):
            yield "colocate", f"{', '.join(group)} do not share a pool"
    for group in (*scenario.apart, (ACTOR, GENERATOR)):
        for roles in sets:
            if len(both := sorted(roles.intersection(group))) > 1:
                yield "apart", f"{', '.join(both)} share a pool"
