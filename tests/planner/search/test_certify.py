"""The certificate: sound plans pass, and each kind of damage is named."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.domain.capabilities import RUNTIME
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.pins import Pins
from planner.domain.plan import Plan
from planner.errors import PlannerError
from planner.search import certify, solve, violations

Build = Callable[..., Any]
Damage = Callable[[Plan], Plan]
REMAX_ONLY = RUNTIME.model_copy(update={"algorithms": ("remax",)})


@pytest.fixture(scope="module")
def sound(synthetic: Build) -> tuple[Any, Plan]:
    """A plan of four devices in two pools of two: actor and reference, critic and reward."""
    case = synthetic(
        1,
        pools=[(2, 2)],
        colocate=(("actor", "reference"), ("critic", "reward")),
        apart=(("actor", "critic"),),
    )
    return case, solve(*case.arguments).plan


def in_pool(plan: Plan, index: int, **changes: Any) -> Plan:
    pools = list(plan.pools)
    pools[index] = pools[index].model_copy(update=changes)
    return plan.model_copy(update={"pools": tuple(pools)})


def in_strategy(plan: Plan, role: str, **changes: Any) -> Plan:
    strategy = plan.strategies[role].model_copy(update=changes)
    return plan.model_copy(update={"strategies": plan.strategies | {role: strategy}})


def in_proof(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"proof": plan.proof.model_copy(update=changes)})


def in_prediction(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"prediction": plan.prediction.model_copy(update=changes)})


def in_scenario(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update=changes)})


def slower(plan: Plan, name: str) -> Plan:
    call = plan.prediction.calls[name]
    call = call.model_copy(update={"seconds": 2 * call.seconds})
    return in_prediction(plan, calls=plan.prediction.calls | {name: call})


def surer(plan: Plan, name: str) -> Plan:
    """The same seconds in a narrower band."""
    call = plan.prediction.calls[name]
    call = call.model_copy(update={"seconds_high": call.seconds})
    return in_prediction(plan, calls=plan.prediction.calls | {name: call})


def with_runner_up(plan: Plan, **changes: Any) -> Plan:
    return plan.model_copy(update={"runners_up": (plan.runners_up[0].model_copy(update=changes),)})


def in_node_pool(plan: Plan, **changes: Any) -> Plan:
    (pool,) = plan.scenario.cluster.node_pools
    pool = pool.model_copy(update=changes)
    return in_scenario(plan, cluster=plan.scenario.cluster.model_copy(update={"node_pools": (pool,)}))


def less_memory(plan: Plan) -> Plan:
    (pool,) = plan.scenario.cluster.node_pools
    return in_node_pool(plan, device=pool.device.model_copy(update={"memory": 2 * 10**9}))


def crossed(plan: Plan) -> Plan:
    """The actor trains before it generates."""
    first = plan.pools[0].order
    return in_pool(plan, 0, order=tuple(reversed(first)))


def test_the_layout_of_the_sound_plan_is_what_the_damages_assume(sound: tuple[Any, Plan]) -> None:
    _, plan = sound
    assert plan.placement == (("actor", "reference"), ("critic", "reward"))
    assert [pool.devices for pool in plan.pools] == [2, 2]


def test_a_sound_plan_has_no_violations(sound: tuple[Any, Plan]) -> None:
    case, plan = sound
    assert violations(plan, case.graph, case.costs) == []
    reread = Plan.model_validate_json(plan.model_dump_json())
    assert violations(reread, case.graph, case.costs) == []


WIDE = ParallelStrategy(pipeline=4, tensor=1, data=1)
DAMAGES: dict[str, tuple[str, Damage]] = {
    "a role in two pools": (
        "partition",
        lambda plan: in_pool(plan, 1, roles=("critic", "reward", "actor")),
    ),
    "a role in no pool": ("partition", lambda plan: in_pool(plan, 1, roles=("critic",))),
    "an unknown role": (
        "partition",
        lambda plan: in_pool(plan, 1, roles=("critic", "reward", "judge")),
    ),
    "a strategy missing": (
        "strategies",
        lambda plan: plan.model_copy(
            update={"strategies": {role: each for role, each in plan.strategies.items() if role != "actor"}}
        ),
    ),
    "a wrong name": ("names", lambda plan: in_pool(plan, 1, name="pool-7")),
    "pools out of order": (
        "names",
        lambda plan: plan.model_copy(
            update={
                "pools": tuple(
                    pool.model_copy(update={"name": f"pool-{index}"})
                    for index, pool in enumerate(reversed(plan.pools))
                )
            }
        ),
    ),
    "an unknown node pool": ("node pools", lambda plan: in_pool(plan, 0, node_pool="b")),
    "too many devices": ("devices", lambda plan: in_pool(plan, 0, devices=3)),
    "a pool across a node's edge": (
        "nodes",
        lambda plan: in_pool(in_pool(plan, 0, devices=3), 1, devices=1),
    ),
    "wrong idle devices": ("idle devices", lambda plan: plan.model_copy(update={"idle_devices": 1})),
    "a pool too large": ("maximum devices", lambda plan: in_scenario(plan, maximum_devices=1)),
    "more than the runtime can": ("capabilities", lambda plan: in_scenario(plan, capabilities=REMAX_ONLY)),
    "more than the hosts hold": (
        "host memory",
        lambda plan: in_strategy(in_node_pool(plan, host_memory=2 * 10**8), "actor", offload="optimizer"),
    ),
    "colocate broken": ("colocate", lambda plan: in_scenario(plan, colocate=(("actor", "reward"),))),
    "apart broken": ("apart", lambda plan: in_scenario(plan, apart=(("actor", "reference"),))),
    "no training layout": (
        "phases",
        lambda plan: in_strategy(plan, "critic", train=None, infer=plan.strategies["critic"].train),
    ),
    "a layout too wide": ("layout", lambda plan: in_strategy(plan, "critic", train=WIDE)),
    "t against the heads": (
        "heads",
        lambda plan: in_strategy(plan, "critic", train=ParallelStrategy(tensor=3)),
    ),
    "t across nodes": ("node", lambda plan: in_strategy(plan, "critic", train=ParallelStrategy(tensor=4))),
    "too many stages": ("layers", lambda plan: in_strategy(plan, "critic", train=WIDE)),
    "recompute without training": ("recompute", lambda plan: in_strategy(plan, "reward", recompute="full")),
    "generation on other devices": (
        "generation layout",
        lambda plan: in_strategy(plan, "actor", generate=GenerationStrategy(replicas=3, max_sequences=1)),
    ),
    "generation against training": (
        "generation sizes",
        lambda plan: in_strategy(
            plan,
            "actor",
            train=ParallelStrategy(data=2),
            generate=GenerationStrategy(pipeline=2, max_sequences=1),
        ),
    ),
    "a pin ignored": (
        "pins",
        lambda plan: in_scenario(plan, pin=Pins.model_validate({"actor.devices": 1})),
    ),
    "a pinned layout ignored": (
        "pins",
        lambda plan: in_scenario(plan, pin=Pins.model_validate({"critic.train": "p2t2d2"})),
    ),
    "less memory": ("memory", less_memory),
    "other bytes": ("bytes", lambda plan: in_prediction(plan, memory={})),
    "a call missing": ("order", lambda plan: in_pool(plan, 1, order=plan.pools[1].order[1:])),
    "a call twice": ("order", lambda plan: in_pool(plan, 1, order=plan.pools[1].order * 2)),
    "a deadlock": ("order", crossed),
    "every call ahead": (
        "ahead",
        lambda plan: in_pool(plan, 1, ahead=dict.fromkeys(plan.pools[1].order, 1)),
    ),
    "other seconds": ("prediction", lambda plan: slower(plan, "actor.generate")),
    "another band": ("prediction", lambda plan: surer(plan, "actor.generate")),
    "another iteration band": (
        "iteration band, high",
        lambda plan: in_prediction(plan, iteration_high=plan.prediction.iteration_seconds),
    ),
    "a tie too far": (
        "ties",
        lambda plan: with_runner_up(
            plan, objective=1.2 * plan.proof.objective, ties=True, difference_band=9.0
        ),
    ),
    "another stage cost": ("stage cost", lambda plan: in_prediction(plan, stage_cost_seconds=1.0)),
    "another iteration": ("iteration", lambda plan: in_prediction(plan, iteration_seconds=1.0)),
    "other tokens per second": (
        "tokens per second",
        lambda plan: in_prediction(plan, tokens_per_second=1.0),
    ),
    "another objective": (
        "objective",
        lambda plan: in_proof(plan, objective=plan.proof.objective + 1e-3),
    ),
    "a bound too high": ("bound", lambda plan: in_proof(plan, bound=plan.proof.bound + 1e-3)),
    "optimal without proof": ("bound", lambda plan: in_proof(plan, bound=plan.proof.bound - 1e-3)),
    "another question": ("minimise", lambda plan: in_scenario(plan, minimise="devices")),
    "too slow": ("within", lambda plan: in_scenario(plan, within=0.5 * plan.proof.objective)),
    "a better runner-up": (
        "runners-up",
        lambda plan: with_runner_up(plan, objective=0.1),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(sound: tuple[Any, Plan], synthetic: Build, name: str) -> None:
    case, plan = sound
    if name in ("a better runner-up", "a tie too far"):
        case = synthetic(1)
        plan = solve(*case.arguments).plan
    rule, damage = DAMAGES[name]
    found = violations(damage(plan), case.graph, case.costs)
    assert rule in {violation.rule for violation in found}
    with pytest.raises(PlannerError, match=rule):
        certify(damage(plan), case.graph, case.costs)


def test_a_feasible_plan_may_have_a_lower_bound(sound: tuple[Any, Plan]) -> None:
    case, plan = sound
    assert not violations(in_proof(plan, status="feasible", bound=0.0), case.graph, case.costs)


def test_every_rule_is_broken_by_some_damage() -> None:
    files = Path(inspect.getfile(violations)).parent.glob("*.py")
    written = {rule for file in files for rule in re.findall(r'rule="([^"]+)"', file.read_text())}
    assert len(written) > 10
    assert written <= {rule for rule, _ in DAMAGES.values()}
