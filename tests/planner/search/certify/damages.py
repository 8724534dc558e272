"""Small changes of a plan, each of one thing."""

from collections.abc import Callable
from typing import Any

from planner.domain.pins import Pins
from planner.domain.plan import Plan, Pool

Damage = Callable[[Plan], Plan]
Row = tuple[str, str, Damage]
"""The sound plan, the rule that the damage breaks, and the damage."""


def in_pool(plan: Plan, index: int, **changes: Any) -> Plan:
    pools = list(plan.pools)
    pools[index] = pools[index].model_copy(update=changes)
    return plan.model_copy(update={"pools": tuple(pools)})


def in_strategy(plan: Plan, role: str, **changes: Any) -> Plan:
    strategy = plan.strategies[role].model_copy(update=changes)
    return plan.model_copy(update={"strategies": plan.strategies | {role: strategy}})


def in_layout(plan: Plan, role: str, **changes: int) -> Plan:
    """Another layout of training, or of inference."""
    strategy = plan.strategies[role]
    phase = "train" if strategy.train else "infer"
    return in_strategy(plan, role, **{phase: strategy.layout.model_copy(update=changes)})


def in_generation(plan: Plan, role: str = "actor", **changes: int) -> Plan:
    generate = plan.strategies[role].generate
    assert generate is not None
    return in_strategy(plan, role, generate=generate.model_copy(update=changes))


def in_proof(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"proof": plan.proof.model_copy(update=changes)})


def in_prediction(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"prediction": plan.prediction.model_copy(update=changes)})


def in_call(plan: Plan, name: str, **factors: float) -> Plan:
    """A call's predicted numbers multiplied."""
    call = plan.prediction.calls[name]
    call = call.model_copy(update={field: factor * getattr(call, field) for field, factor in factors.items()})
    return in_prediction(plan, calls=plan.prediction.calls | {name: call})


def in_memory(plan: Plan, role: str, **changes: Any) -> Plan:
    memory = plan.prediction.memory[role].model_copy(update=changes)
    return in_prediction(plan, memory=plan.prediction.memory | {role: memory})


def in_scenario(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update=changes)})


def in_node_pools(plan: Plan, **changes: Any) -> Plan:
    """Changes of every node pool; ``memory`` is its devices'."""
    memory = changes.pop("memory", None)
    pools = []
    for pool in plan.scenario.cluster.node_pools:
        device = pool.device.model_copy(update={"memory": memory}) if memory else pool.device
        pools.append(pool.model_copy(update={"device": device, **changes}))
    return in_scenario(plan, cluster=plan.scenario.cluster.model_copy(update={"node_pools": tuple(pools)}))


def with_runner_up(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"runners_up": (plan.runners_up[0].model_copy(update=changes),)})


def with_runners_up(plan: Plan, *order: int) -> Plan:
    """The plan's own runners-up in another order, or some of them twice."""
    return plan.model_copy(update={"runners_up": tuple(plan.runners_up[index] for index in order)})


def with_idle_pool(plan: Plan) -> Plan:
    """One more pool, of devices that were idle and of no role."""
    pool = Pool(
        name=f"pool-{len(plan.pools)}", node_pool=plan.pools[0].node_pool, devices=1, roles=(), order=()
    )
    return plan.model_copy(update={"pools": (*plan.pools, pool), "idle_devices": plan.idle_devices - 1})


def without_strategy(plan: Plan, role: str) -> Plan:
    strategies = {name: strategy for name, strategy in plan.strategies.items() if name != role}
    return plan.model_copy(update={"strategies": strategies})


def with_pools_reversed(plan: Plan) -> Plan:
    pools = tuple(
        pool.model_copy(update={"name": f"pool-{index}"}) for index, pool in enumerate(reversed(plan.pools))
    )
    return plan.model_copy(update={"pools": pools})


def less_than(plan: Plan, share: float = 0.9) -> int:
    """Fewer bytes than the plan's fullest device needs."""
    needed = max(
        sum(plan.prediction.memory[role].persistent_bytes for role in pool.roles)
        + max(plan.prediction.memory[role].transient_bytes for role in pool.roles)
        for pool in plan.pools
    )
    return 10**9 + int(share * needed)


def joined(plan: Plan, index: int, role: str) -> Plan:
    """A role moved into a pool, the one that it leaves empty gone."""
    pools = [
        pool.model_copy(update={"roles": tuple(each for each in pool.roles if each != role)})
        for pool in plan.pools
    ]
    pools[index] = pools[index].model_copy(update={"roles": (*pools[index].roles, role)})
    kept = [pool for pool in pools if pool.roles]
    named = [pool.model_copy(update={"name": f"pool-{number}"}) for number, pool in enumerate(kept)]
    idle = plan.scenario.cluster.devices - sum(pool.devices for pool in kept)
    return plan.model_copy(update={"pools": tuple(named), "idle_devices": idle})


def pinned(plan: Plan, pins: dict[str, Any]) -> Plan:
    return in_scenario(plan, pin=Pins.model_validate(pins))
