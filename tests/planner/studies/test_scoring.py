"""Choices made by hand, held against the optimum."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.domain.choice import Choice, ChosenPool
from planner.domain.plan import Plan
from planner.domain.reading import parse_cluster
from planner.domain.scenario import Scenario
from planner.errors import BrokenPlanError, SpecError
from planner.studies.planning import plan
from planner.studies.scoring import costed, score

Build = Callable[..., Scenario]
SPLIT: dict[str, Any] = {
    "pools": [
        {"devices": 2, "roles": ["reference", "actor"]},
        {"devices": 2, "roles": ["critic", "reward"]},
    ],
    "strategies": {
        "actor": {
            "train": {"tensor": 2},
            "generate": {"tensor": 1, "replicas": 2, "max_sequences": 16},
            "micro_batch": 2,
            "recompute": "full",
        },
        "critic": {"train": {"data": 2}, "micro_batch": 2, "recompute": "full"},
        "reference": {"infer": {"data": 2}, "micro_batch": 2},
        "reward": {"infer": {"data": 2}, "micro_batch": 2},
    },
}


def split(**changes: Any) -> Choice:
    return Choice.model_validate(SPLIT | changes)


def choice_of(found: Plan) -> Choice:
    """A plan as a person would write it down, pools in another order."""
    pools = tuple(
        ChosenPool(devices=pool.devices, roles=pool.roles, order=pool.order, ahead=pool.ahead)
        for pool in reversed(found.pools)
    )
    return Choice(pools=pools, strategies=found.strategies)


@pytest.mark.parametrize("staleness", [0, 1])
def test_the_best_plan_written_down_loses_nothing_and_is_optimal(tiny: Build, staleness: int) -> None:
    """With a generator, too, which has a pool of its own."""
    workload = {"prompts": 64, "prompt_tokens": 256, "response_tokens": 4096, "mini_batches": 4}
    scenario = tiny(staleness=staleness, workload=workload, apart=[["critic", "actor"]])
    best = plan(scenario).plan
    assert ("generator" in best.strategies) is bool(staleness)
    found = score(scenario, choice_of(best))
    assert (found.plan.pools, found.plan.prediction) == (best.pools, best.prediction)
    assert found.plan.proof == best.proof
    assert found.plan.runners_up == best.runners_up
    assert (found.against.amount, found.against.relative) == (0, 0)


def test_another_choice_loses_what_the_optimum_is_better(tiny: Build) -> None:
    best, found = plan(tiny()).plan, score(tiny(), split())
    lost = found.plan.proof.objective - best.proof.objective
    assert lost > 0
    assert found.against.amount == lost
    assert found.against.relative == lost / best.proof.objective
    assert found.against.is_proven
    assert (found.plan.proof.bound, found.plan.proof.status) == (best.proof.objective, "feasible")
    assert found.plan.runners_up == ()


def test_roles_and_pools_come_in_the_order_of_the_dataflow(tiny: Build) -> None:
    found = costed(split(pools=SPLIT["pools"][::-1]), tiny())
    assert found.placement == (("actor", "reference"), ("critic", "reward"))
    assert [pool.name for pool in found.pools] == ["pool-0", "pool-1"]


def test_without_a_choice_the_scenarios_own_demands_are_one(tiny: Build) -> None:
    demanded = tiny(pin={"actor.train.tensor": 1, "actor.devices": 2}, apart=[["actor", "critic"]])
    found = score(demanded)
    assert str(found.plan.strategies["actor"].train) in ("p1t1d2", "p2t1d1")
    assert "critic" not in found.plan.pool_of("actor").roles
    assert found.against.before.proof.objective == plan(tiny()).plan.proof.objective
    assert found.against.amount > 0


def test_all_broken_rules_are_said_at_once(tiny: Build) -> None:
    pools = [{**pool, "devices": 3} for pool in SPLIT["pools"]]
    with pytest.raises(BrokenPlanError) as caught:
        score(tiny(apart=[["actor", "reference"]]), split(pools=pools))
    assert {"devices", "apart"} <= {rule for rule, _ in caught.value.violations}


def test_orders_that_wait_for_each_other_are_refused(tiny: Build) -> None:
    actor, critic = SPLIT["pools"]
    pools = [
        {**actor, "order": ["actor.update", "actor.generate", "reference.logprobs"]},
        {**critic, "order": ["critic.values", "reward.scores", "critic.update"]},
    ]
    with pytest.raises(BrokenPlanError, match="order"):
        costed(split(pools=pools), tiny())


def test_a_generator_needs_staleness(tiny: Build) -> None:
    pools = [{"devices": 2, "roles": ["generator"]}, {"devices": 2, "roles": ["actor"]}]
    with pytest.raises(SpecError, match="staleness: 0, but a pool has a generator"):
        costed(split(pools=pools), tiny())


def test_of_several_node_pools_one_must_be_named(tiny: Build) -> None:
    node_pools = [{**parse_cluster("1x2xa100-sxm-80gb")["node_pools"][0], "name": name} for name in "ab"]
    scenario = tiny(cluster={"node_pools": node_pools})
    with pytest.raises(SpecError, match="the pool of reference, actor names no node_pool; write one of a, b"):
        costed(split(), scenario)
    named = [{**pool, "node_pool": name} for pool, name in zip(SPLIT["pools"], "ab", strict=True)]
    assert [pool.node_pool for pool in costed(split(pools=named), scenario).pools] == ["a", "b"]
