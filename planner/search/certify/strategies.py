"""A role's layouts are those that its calls need, fill its pool, and fit the model, the node and the pins."""

from collections.abc import Iterator

from planner.domain.cluster import NodePool
from planner.domain.dataflow import ACTOR, GENERATOR, DataflowGraph
from planner.domain.model import ModelSpec
from planner.domain.parallelism import ParallelStrategy
from planner.domain.pins import PinKey
from planner.domain.plan import Plan, Pool, RoleStrategy
from planner.domain.runnable import plan_refusals, scenario_refusals, strategy_refusals
from planner.domain.stack import Resharding
from planner.search.certify.violation import Violation

Rules = dict[str, tuple[bool, str]]
"""Whether each rule holds, and what to say if not."""


def strategy_violations(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """What is wrong with the strategies of roles in sound pools."""
    for pool in plan.pools:
        node_pool = plan.scenario.cluster.node_pool(pool.node_pool)
        for role in pool.roles:
            strategy, kinds = plan.strategies[role], {call.kind for call in graph.calls_of(role)}
            wanted = ("train" in kinds, "infer" in kinds and "train" not in kinds, "generate" in kinds)
            if (bool(strategy.train), bool(strategy.infer), bool(strategy.generate)) != wanted:
                message = f"{role} has not the layouts that its calls {sorted(kinds)} need"
                yield Violation(rule="phases", message=message)
                continue
            rules = _layout_rules(strategy.layout, plan.scenario.model_of(role), node_pool, pool.devices)
            resharding = plan.scenario.stack.generation.resharding
            rules |= _generation_rules(strategy, pool.devices, resharding) | _pass_rules(strategy, plan)
            for rule, (holds, message) in rules.items():
                if not holds:
                    yield Violation(rule=rule, message=f"{role}: {message}")
            yield from _pins(plan, pool, role)
    yield from _capabilities(plan)


def _layout_rules(layout: ParallelStrategy, model: ModelSpec, node_pool: NodePool, devices: int) -> Rules:
    per_node, experts = node_pool.devices_per_node, model.moe.experts if model.moe else 1
    ranks = layout.data * layout.context
    return {
        "layout": (layout.devices == devices, f"{layout} does not fill {devices} devices"),
        "heads": (model.heads % layout.tensor == 0, f"t={layout.tensor} does not divide {model.heads} heads"),
        "node": (
            per_node % layout.tensor == 0,
            f"t={layout.tensor} does not divide a node of {per_node} devices",
        ),
        "layers": (layout.pipeline <= model.layers, f"p={layout.pipeline} exceeds {model.layers} layers"),
        "chunks": (
            layout.virtual == 1 or (layout.pipeline > 1 and layout.pipeline * layout.virtual <= model.layers),
            f"{layout.virtual} chunks on each of {layout.pipeline} stages, of {model.layers} layers",
        ),
        "experts": (
            experts % layout.expert == 0 and ranks % layout.expert == 0,
            f"e={layout.expert} does not divide {experts} experts and {ranks} data and context ranks",
        ),
    }


def _generation_rules(strategy: RoleStrategy, devices: int, resharding: Resharding) -> Rules:
    generate, layout = strategy.generate, strategy.layout
    if generate is None:
        return {}
    sizes, own = (generate.pipeline, generate.tensor), (layout.pipeline, layout.tensor)
    divide = all(whole % part == 0 for whole, part in zip(own, sizes, strict=True))
    reaches = {"micro-data": divide, "everywhere": True, "none": sizes == own}
    return {
        "generation layout": (
            generate.devices == devices,
            f"{generate} does not fill {devices} devices",
        ),
        "generation sizes": (
            reaches[resharding],
            f"p_g={generate.pipeline}, t_g={generate.tensor} "
            + (f"are not those of {layout}" if resharding == "none" else f"do not divide those of {layout}"),
        ),
    }


def _pass_rules(strategy: RoleStrategy, plan: Plan) -> Rules:
    """Of micro-batches, token budgets, recomputation and offload."""
    longest, generate = plan.scenario.workload.maximum_tokens, strategy.generate
    passes = strategy.train or strategy.infer
    budget = strategy.micro_batch_tokens
    cache = generate.cache_tokens if generate else None
    return {
        "recompute": (bool(strategy.train) or strategy.recompute == "none", "recomputes without training"),
        "offload": _offload_rule(strategy),
        "micro-batch": (bool(passes) or strategy.micro_batch == 1, "only generates, and so without passes"),
        "token budget": (
            budget is None or (bool(passes) and strategy.micro_batch == 1 and budget >= longest),
            f"packs {budget} tokens and {strategy.micro_batch} sequences; the longest has {longest} tokens",
        ),
        "cache": (
            cache is None or cache >= longest,
            f"caches {cache} tokens, the longest sequence has {longest}",
        ),
    }


def _offload_rule(strategy: RoleStrategy) -> tuple[bool, str]:
    if not (strategy.train or strategy.infer):
        return strategy.offload == "none", "only generates, so its weights stay on the devices"
    return bool(strategy.train) or strategy.offload != "optimizer", "has no optimizer to offload"


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
    pins = plan.scenario.pin
    for key in dict.fromkeys(PinKey(role, key.phase, key.field) for key in pins.root):
        value = pins.value(role, key.phase, key.field)
        is_anothers = role == ACTOR and key.phase == "generate" and GENERATOR in plan.strategies
        actual = getattr(phases[key.phase], key.field, None) if key.phase else own[key.field]
        if value is not None and not is_anothers and actual != value:
            yield Violation(rule="pins", message=f"{key} is {actual}, pinned to {value}")


def _capabilities(plan: Plan) -> Iterator[Violation]:
    """What the runtime that the scenario names can do."""
    can, scenario = plan.scenario.capabilities, plan.scenario
    if can is None:
        return
    for reason in scenario_refusals(can, scenario):
        yield Violation(rule="capabilities", message=reason)
    for role, strategy in plan.strategies.items():
        for reason in strategy_refusals(can, scenario, role, strategy):
            yield Violation(rule="capabilities", message=f"{role}: {reason}")
    for reason in plan_refusals(can, plan):
        yield Violation(rule="capabilities", message=reason)
