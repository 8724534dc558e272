"""Checks a plan from scratch: against its scenario, the dataflow graph and the costs. Knows no solver."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

from planner.costs import stage_cost, tokens_per_second
from planner.costs.bands import Term, slowest_terms, sum_band, ties
from planner.costs.uncertainty import banded_call, banded_memory, term_of
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import CallPrediction, Plan, Pool, RoleStrategy
from planner.errors import PlannerError
from planner.search.strategies import Costs
from planner.units import MICROSECOND, format_bytes

RELATIVE_TOLERANCE = 1e-9
"""Between a written number and the same number computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing wrong with a plan."""

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def certify(plan: Plan, graph: DataflowGraph, costs: Costs) -> None:
    """Refuse a plan that breaks any rule.

    Raises
    ------
    PlannerError
        With every violation, one per line.
    """
    found = violations(plan, graph, costs)
    if found:
        raise PlannerError("the plan is not valid:\n" + "\n".join(map(str, found)))


def violations(plan: Plan, graph: DataflowGraph, costs: Costs) -> list[Violation]:
    """Everything wrong with a plan; what needs sound pools and layouts is checked when they are."""
    found = [*_pools(plan, graph), *_devices(plan), *_demands(plan)]
    if not found:
        found = [
            violation
            for pool in plan.pools
            for role in pool.roles
            for violation in _layouts(plan, graph, pool, role)
        ]
    if not found:
        found = [*_memory(plan, graph, costs), *_orders(plan, graph), *_prediction(plan, graph, costs)]
        found += _proof(plan, graph)
    return found


def _pools(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """Roles are partitioned, in order."""
    placed = Counter(role for pool in plan.pools for role in pool.roles)
    for role in graph.roles:
        if placed[role] != 1:
            yield Violation(rule="partition", message=f"{role} is in {placed[role]} pools, not in one")
    for role in sorted(set(placed) - set(graph.roles)):
        yield Violation(rule="partition", message=f"the dataflow {graph.name} has no role {role}")
    for role in sorted(set(graph.roles) ^ set(plan.strategies)):
        yield Violation(
            rule="strategies", message=f"{role} has a strategy or a place in the dataflow, not both"
        )
    for index, pool in enumerate(plan.pools):
        if pool.name != f"pool-{index}":
            yield Violation(rule="names", message=f"the pool at place {index} is called {pool.name}")
    ranks = {role: rank for rank, role in enumerate(graph.roles)}
    firsts = [min((ranks.get(role, -1) for role in pool.roles), default=-1) for pool in plan.pools]
    if firsts != sorted(firsts):
        yield Violation(rule="names", message="pools do not stand in the order of their first roles")


def _devices(plan: Plan) -> Iterator[Violation]:
    """Pools lie inside one node pool each, which has room for all of them; idle devices are the rest."""
    node_pools = {node_pool.name: node_pool for node_pool in plan.scenario.cluster.node_pools}
    for pool in plan.pools:
        if pool.node_pool not in node_pools:
            yield Violation(rule="node pools", message=f"{pool.name}: there is no node pool {pool.node_pool}")
    for name, node_pool in node_pools.items():
        sizes = [pool.devices for pool in plan.pools if pool.node_pool == name]
        if sum(sizes) > node_pool.devices:
            message = f"pools take {sum(sizes)} of the {node_pool.devices} devices of {name}"
            yield Violation(rule="devices", message=message)
        elif node_pool.nodes > 1 and not _packs(sizes, node_pool.nodes, node_pool.devices_per_node):
            message = f"pools of {sizes} devices do not pack into {node_pool.nodes} nodes of {name}"
            yield Violation(rule="nodes", message=message)
    taken = sum(pool.devices for pool in plan.pools)
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


def _demands(plan: Plan) -> Iterator[Violation]:
    """Colocate and apart."""
    sets = [set(pool.roles) for pool in plan.pools]
    for group in plan.scenario.colocate:
        if not any(set(group) <= roles for roles in sets):
            yield Violation(rule="colocate", message=f"{', '.join(group)} do not share a pool")
    for group in plan.scenario.apart:
        for roles in sets:
            if len(both := sorted(roles.intersection(group))) > 1:
                yield Violation(rule="apart", message=f"{', '.join(both)} share a pool")


def _layouts(plan: Plan, graph: DataflowGraph, pool: Pool, role: str) -> Iterator[Violation]:
    """A role's layouts are those that its calls need, fill the pool and fit the model and the node."""
    strategy = plan.strategies[role]
    kinds = {call.kind for call in graph.calls_of(role)}
    wanted = ("train" in kinds, "train" not in kinds, "generate" in kinds)
    if (bool(strategy.train), bool(strategy.infer), bool(strategy.generate)) != wanted:
        yield Violation(
            rule="phases", message=f"{role} has not the layouts that its calls {sorted(kinds)} need"
        )
        return
    layout, model = strategy.layout, plan.scenario.models[role]
    per_node = plan.scenario.cluster.node_pool(pool.node_pool).devices_per_node
    rules = {
        "layout": (layout.devices == pool.devices, f"{layout} does not fill {pool.devices} devices"),
        "heads": (model.heads % layout.tensor == 0, f"t={layout.tensor} does not divide {model.heads} heads"),
        "node": (
            per_node % layout.tensor == 0,
            f"t={layout.tensor} does not divide a node of {per_node} devices",
        ),
        "layers": (layout.pipeline <= model.layers, f"p={layout.pipeline} exceeds {model.layers} layers"),
        "recompute": ("train" in kinds or strategy.recompute == "none", "recomputes without training"),
    }
    if generate := strategy.generate:
        rules["generation layout"] = (
            generate.devices == pool.devices,
            f"{generate} does not fill {pool.devices} devices",
        )
        rules["generation sizes"] = (
            layout.pipeline % generate.pipeline == 0 and layout.tensor % generate.tensor == 0,
            f"p_g={generate.pipeline}, t_g={generate.tensor} do not divide those of {layout}",
        )
    for rule, (holds, message) in rules.items():
        if not holds:
            yield Violation(rule=rule, message=f"{role}: {message}")
    yield from _pins(plan, pool, role)


def _pins(plan: Plan, pool: Pool, role: str) -> Iterator[Violation]:
    strategy = plan.strategies[role]
    phases = {"train": strategy.train, "infer": strategy.infer, "generate": strategy.generate}
    own = {
        "devices": pool.devices,
        "node_pool": pool.node_pool,
        "micro_batch": strategy.micro_batch,
        "micro_batch_tokens": strategy.micro_batch_tokens,
        "recompute": strategy.recompute,
        "offload": strategy.offload,
    }
    for key, value in plan.scenario.pin.root.items():
        if key.role == role:
            actual = getattr(phases[key.phase], key.field, None) if key.phase else own[key.field]
            if actual != value:
                yield Violation(rule="pins", message=f"{key} is {actual}, pinned to {value}")


def _memory(plan: Plan, graph: DataflowGraph, costs: Costs) -> Iterator[Violation]:
    """On every pool, each call's bytes beside all roles' persistent bytes fit a device."""
    for pool in plan.pools:
        node_pool = plan.scenario.cluster.node_pool(pool.node_pool)
        device, there = node_pool.device.name, node_pool.device.usable_memory
        memory = {role: costs.memory(role, plan.strategies[role], node_pool) for role in pool.roles}
        for role in pool.roles:
            if banded_memory(memory[role]) != plan.prediction.memory.get(role):
                yield Violation(rule="memory", message=f"{role}: the plan's bytes are not the cost model's")
        persistent = sum(each.persistent_bytes for each in memory.values())
        for call in graph.model_calls:
            if call.role in pool.roles:
                needed = persistent + sum(memory[call.role].transient.get(call.name, {}).values())
                if needed > there:
                    beside = f"{pool.name}: {call.name} beside {', '.join(pool.roles)}"
                    message = f"needs {format_bytes(needed)} per device, {device} has {format_bytes(there)}"
                    yield Violation(rule="memory", message=f"{beside} {message}")


def _orders(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """Each pool has its calls once, and all orders together contradict no data dependence."""
    dependences = nx.DiGraph(graph.graph.edges)
    for pool in plan.pools:
        calls = sorted(call.name for call in graph.model_calls if call.role in pool.roles)
        if sorted(pool.order) != calls:
            yield Violation(rule="order", message=f"{pool.name} orders {pool.order}, its calls are {calls}")
        dependences.add_edges_from(pairwise(pool.order))
    if not nx.is_directed_acyclic_graph(dependences):
        cycle = " -> ".join(edge[0] for edge in nx.find_cycle(dependences))
        yield Violation(rule="order", message=f"the pools' orders would wait for each other: {cycle}")


def _prediction(plan: Plan, graph: DataflowGraph, costs: Costs) -> Iterator[Violation]:
    """Seconds and their bands are the cost model's, and the totals follow from them."""
    prediction = plan.prediction
    calls: dict[str, CallPrediction] = {}
    terms: dict[str, Term] = {}
    for model_call in graph.model_calls:
        home = _home(plan, model_call.role)
        predicted = banded_call(model_call, costs.call(model_call, *home), *home, plan.scenario)
        calls[model_call.name] = predicted
        terms[model_call.name] = term_of(model_call, predicted, *home, plan.scenario)
    for name, call in calls.items():
        written = prediction.calls.get(name)
        if written is None or not _same(written, call):
            yield Violation(rule="prediction", message=f"{name}: {written} is not the cost model's {call}")
    cost = stage_cost(graph, plan.placement, {name: call.seconds for name, call in calls.items()})
    low, high = sum_band(slowest_terms(graph, plan.placement, terms))
    totals = {
        "iteration band, low": (prediction.iteration_low, low),
        "iteration band, high": (prediction.iteration_high, high),
        "stage cost": (prediction.stage_cost_seconds, cost),
        "iteration": (prediction.iteration_seconds, cost),
        "tokens per second": (
            prediction.tokens_per_second,
            tokens_per_second(plan.scenario, prediction.iteration_seconds),
        ),
    }
    for rule, (total, computed) in totals.items():
        if total is None or not _equal(total, computed):
            yield Violation(rule=rule, message=f"{total!r} is written, {computed!r} computed")


def _same(written: CallPrediction, call: CallPrediction) -> bool:
    pairs = (
        (written.seconds, call.seconds),
        (written.seconds_low, call.seconds_low),
        (written.seconds_high, call.seconds_high),
    )
    is_equal = all(one is not None and other is not None and _equal(one, other) for one, other in pairs)
    return is_equal and (written.origin, written.outside) == (call.origin, call.outside)


def _home(plan: Plan, role: str) -> tuple[RoleStrategy, NodePool]:
    return plan.strategies[role], plan.scenario.cluster.node_pool(plan.pool_of(role).node_pool)


def _proof(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """The objective is the stage cost, calls rounded up to microseconds; the bound does not exceed it."""
    proof, cost = plan.proof, plan.prediction.stage_cost_seconds
    slack = len(graph.model_calls) * MICROSECOND
    if not cost - slack / 100 <= proof.objective <= cost + slack:
        message = f"{proof.objective!r} is not the stage cost {cost!r} in whole microseconds"
        yield Violation(rule="objective", message=message)
    if proof.bound > proof.objective + MICROSECOND / 2:
        yield Violation(rule="bound", message=f"{proof.bound!r} exceeds the objective {proof.objective!r}")
    if proof.status == "optimal" and proof.bound < proof.objective - MICROSECOND / 2:
        yield Violation(rule="bound", message=f"optimal, but only {proof.bound!r} is proven")
    for other in plan.runners_up:
        if proof.status == "optimal" and other.objective < proof.objective - MICROSECOND / 2:
            message = f"{other.placement} costs {other.objective!r}, less than the plan"
            yield Violation(rule="runners-up", message=message)
        if other.ties and not ties(proof.objective, other.objective, other.difference_band):
            apart = abs(other.objective - proof.objective)
            message = f"{other.placement} is {apart:.6g} s away, too far from the plan to tie with it"
            yield Violation(rule="ties", message=message)


def _equal(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE)
