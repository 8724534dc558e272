"""Plans whose pools or strategies are broken in one place each: the sound plan, the rule, the damage."""

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from tests.planner.search.certify.damages import (
    Row,
    in_call,
    in_generation,
    in_layout,
    in_node_pools,
    in_pool,
    in_scenario,
    in_strategy,
    joined,
    pinned,
    with_idle_pool,
    with_pools_reversed,
    without_strategy,
)
from tests.planner.search.certify.sound_plans import ABLE

ONE = ParallelStrategy()

PLACES: dict[str, Row] = {
    "a role in two pools": (
        "ppo",
        "partition",
        lambda plan: in_pool(plan, 1, roles=("critic", "reward", "actor")),
    ),
    "a role in no pool": ("ppo", "partition", lambda plan: in_pool(plan, 1, roles=("critic",))),
    "an unknown role": (
        "ppo",
        "partition",
        lambda plan: in_pool(plan, 1, roles=("critic", "reward", "judge")),
    ),
    "a critic in GRPO": (
        "grpo",
        "partition",
        lambda plan: in_pool(plan, 0, roles=(*plan.pools[0].roles, "critic")),
    ),
    "no place for the cost model": (
        "safe_rlhf",
        "partition",
        lambda plan: in_pool(
            plan,
            plan.pools.index(plan.pool_of("cost")),
            roles=tuple(role for role in plan.pool_of("cost").roles if role != "cost"),
        ),
    ),
    "a strategy missing": ("ppo", "strategies", lambda plan: without_strategy(plan, "actor")),
    "a strategy of no role": (
        "grpo",
        "strategies",
        lambda plan: plan.model_copy(
            update={"strategies": plan.strategies | {"critic": plan.strategies["actor"]}}
        ),
    ),
    "a pool of no role": ("devices", "partition", with_idle_pool),
    "a wrong name": ("ppo", "names", lambda plan: in_pool(plan, 1, name="pool-7")),
    "pools out of order": ("ppo", "names", with_pools_reversed),
    "an unknown node pool": ("two node pools", "node pools", lambda plan: in_pool(plan, 0, node_pool="b")),
    "too many devices": ("ppo", "devices", lambda plan: in_pool(plan, 0, devices=3)),
    "more devices than one of two node pools has": (
        "two node pools",
        "devices",
        lambda plan: in_pool(plan, 0, devices=3),
    ),
    "a pool across a node's edge": (
        "ppo",
        "nodes",
        lambda plan: in_pool(in_pool(plan, 0, devices=3), 1, devices=1),
    ),
    "a pool too large": ("ppo", "maximum devices", lambda plan: in_scenario(plan, maximum_devices=1)),
    "wrong idle devices": (
        "ppo",
        "idle devices",
        lambda plan: plan.model_copy(update={"idle_devices": plan.idle_devices + 1}),
    ),
    "colocate broken": ("ppo", "colocate", lambda plan: in_scenario(plan, colocate=(("actor", "reward"),))),
    "apart broken": ("ppo", "apart", lambda plan: in_scenario(plan, apart=(("actor", "reference"),))),
}
STRATEGIES: dict[str, Row] = {
    "no training layout": (
        "ppo",
        "phases",
        lambda plan: in_strategy(plan, "critic", train=None, infer=plan.strategies["critic"].train),
    ),
    "a reference that trains": (
        "grpo",
        "phases",
        lambda plan: in_strategy(plan, "reference", train=plan.strategies["reference"].infer),
    ),
    "a cost model that generates": (
        "safe_rlhf",
        "phases",
        lambda plan: in_strategy(plan, "cost", generate=plan.strategies["actor"].generate),
    ),
    "a layout too small": ("ppo", "layout", lambda plan: in_strategy(plan, "critic", train=ONE)),
    "a context size that takes more devices": (
        "ppo",
        "layout",
        lambda plan: in_layout(plan, "critic", context=2),
    ),
    "t against the heads": (
        "offload",
        "heads",
        lambda plan: in_layout(plan, "critic", tensor=4, pipeline=1, data=1),
    ),
    "t across nodes": (
        "ppo",
        "node",
        lambda plan: in_strategy(
            in_node_pools(plan, devices_per_node=1, nodes=4), "critic", train=ParallelStrategy(tensor=2)
        ),
    ),
    "too many stages": (
        "offload",
        "layers",
        lambda plan: in_layout(plan, "critic", tensor=1, pipeline=4, data=1),
    ),
    "chunks without a pipeline": ("grpo", "chunks", lambda plan: in_layout(plan, "actor", virtual=2)),
    "experts of a dense model": ("safe_rlhf", "experts", lambda plan: in_layout(plan, "actor", expert=2)),
    "recompute without training": (
        "ppo",
        "recompute",
        lambda plan: in_strategy(plan, "reward", recompute="full"),
    ),
    "an optimizer of a frozen role offloaded": (
        "offload",
        "offload",
        lambda plan: in_strategy(plan, "reference", offload="optimizer"),
    ),
    "fewer tokens at once than a sequence has": (
        "grpo",
        "token budget",
        lambda plan: in_strategy(plan, "reward", micro_batch=1, micro_batch_tokens=7),
    ),
    "both sequences and tokens counted": (
        "grpo",
        "token budget",
        lambda plan: in_strategy(plan, "reward", micro_batch=2, micro_batch_tokens=8),
    ),
    "a cache for less than a sequence": (
        "ppo",
        "cache",
        lambda plan: in_generation(plan, cache_tokens=7),
    ),
    "generation on other devices": (
        "ppo",
        "generation layout",
        lambda plan: in_strategy(plan, "actor", generate=GenerationStrategy(replicas=3, max_sequences=1)),
    ),
    "generation against training": (
        "ppo",
        "generation sizes",
        lambda plan: in_strategy(
            in_strategy(plan, "actor", generate=GenerationStrategy(pipeline=2, max_sequences=1)),
            "actor",
            train=ParallelStrategy(data=2),
        ),
    ),
    "a pin ignored": ("ppo", "pins", lambda plan: pinned(plan, {"actor.devices": 1})),
    "a pinned layout ignored": ("ppo", "pins", lambda plan: pinned(plan, {"critic.train": "p2t2d2"})),
    "a pinned node pool ignored": (
        "two node pools",
        "pins",
        lambda plan: pinned(plan, {"critic.node_pool": "pool0"}),
    ),
    "a pinned offload ignored": ("offload", "pins", lambda plan: pinned(plan, {"actor.offload": "all"})),
    "pinned tokens ignored": (
        "grpo",
        "pins",
        lambda plan: pinned(plan, {"actor.generate.cache_tokens": 16, "reward.micro_batch_tokens": 16}),
    ),
    "more than the runtime can": (
        "free",
        "capabilities",
        lambda plan: in_scenario(plan, capabilities=ABLE.model_copy(update={"algorithms": ("remax",)})),
    ),
    "offload that the runtime can't do": (
        "offload",
        "capabilities",
        lambda plan: in_scenario(plan, capabilities=ABLE.model_copy(update={"offload": False})),
    ),
    "node pools that the runtime can't join": (
        "two node pools",
        "capabilities",
        lambda plan: in_scenario(plan, capabilities=ABLE.model_copy(update={"node_pools": False})),
    ),
}
ASYNCHRONOUS: dict[str, Row] = {
    "a generator beside the actor": (
        "asynchronous",
        "apart",
        lambda plan: joined(plan, plan.pools.index(plan.pool_of("actor")), "generator"),
    ),
    "a generator that trains": (
        "asynchronous",
        "phases",
        lambda plan: in_strategy(plan, "generator", train=plan.strategies["actor"].train),
    ),
    "an actor that generates as well": (
        "asynchronous",
        "phases",
        lambda plan: in_strategy(plan, "actor", generate=plan.strategies["generator"].generate),
    ),
    "less staleness permitted": ("asynchronous", "staleness", lambda plan: in_scenario(plan, staleness=1)),
    "staleness that the runtime can't do": (
        "asynchronous",
        "capabilities",
        lambda plan: in_scenario(plan, capabilities=ABLE.model_copy(update={"staleness": 1})),
    ),
    "a generator on fewer devices than its pool": (
        "asynchronous",
        "generation layout",
        lambda plan: in_generation(plan, "generator", replicas=7),
    ),
    "a generator with micro-batches": (
        "asynchronous",
        "micro-batch",
        lambda plan: in_strategy(plan, "generator", micro_batch=2),
    ),
    "a generator whose weights are offloaded": (
        "asynchronous",
        "offload",
        lambda plan: in_strategy(plan, "generator", offload="all"),
    ),
    "weights never received": (
        "asynchronous",
        "order",
        lambda plan: in_pool(
            plan, plan.pools.index(plan.pool_of("generator")), order=("generator.generate",)
        ),
    ),
    "generation too far ahead": (
        "asynchronous",
        "ahead",
        lambda plan: in_pool(
            plan,
            plan.pools.index(plan.pool_of("generator")),
            order=("generator.generate", "generator.receive"),
            ahead={"generator.generate": 4},
        ),
    ),
    "weights received for nothing": (
        "asynchronous",
        "prediction",
        lambda plan: in_call(plan, "generator.receive", seconds=0.5),
    ),
}
