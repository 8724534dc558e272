import math

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel, stage_cost, tokens_per_second
from planner.domain.catalog import read_model
from planner.domain.cluster import Cluster
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.scenario import Scenario
from planner.errors import SpecError

PPO = trace(ALGORITHMS["ppo"], name="ppo")
LAYOUT = ParallelStrategy(tensor=8, data=2)
ACTOR = RoleStrategy(
    train=LAYOUT, generate=GenerationStrategy(tensor=2, replicas=8, max_sequences=64), micro_batch=1
)


@pytest.fixture(scope="module")
def scenario(node_pool, workload, stack):
    return Scenario(
        name="paper",
        algorithm={"name": "ppo"},
        models=dict.fromkeys(PPO.roles, read_model("llama-2-7b")),
        cluster=Cluster(node_pools=(node_pool,)),
        workload=workload,
        stack=stack,
    )


def measured(call, seconds, *, strategy=ACTOR, samples=1024, reshard_seconds=0.0):
    return MeasuredCall(
        role=call.role,
        model="llama-2-7b",
        kind=call.kind,
        method=call.method,
        strategy=strategy,
        samples=samples,
        prompt_tokens=1024,
        response_tokens=1024,
        seconds=seconds,
        reshard_seconds=reshard_seconds,
        repeats=3,
    )


def profile(node_pool, *calls, name=None):
    device = node_pool.device.model_copy(update={"name": name or node_pool.device.name})
    return Profile(device=device, processes=16, calls=calls, versions={}, date="2025-01-01")


def test_without_a_profile_calls_are_modelled(scenario, node_pool):
    prediction = CostModel(scenario, PPO).call(PPO.call("actor.update"), ACTOR, node_pool)
    assert prediction.origin == "modelled"
    assert prediction.reshard_seconds == 0.0


def test_generation_includes_the_weight_sync(scenario, node_pool):
    prediction = CostModel(scenario, PPO).call(PPO.call("actor.generate"), ACTOR, node_pool)
    assert scenario.stack.generation.wake <= prediction.reshard_seconds < prediction.seconds


def test_a_measured_point_is_taken_as_it_is(scenario, node_pool):
    call = PPO.call("actor.generate")
    costs = CostModel(
        scenario,
        PPO,
        profiles=[profile(node_pool, measured(call, 12.5, reshard_seconds=0.5))],
    )
    prediction = costs.call(call, ACTOR, node_pool)
    assert (prediction.seconds, prediction.reshard_seconds, prediction.origin) == (12.5, 0.5, "measured")


def test_other_calls_of_a_measured_kind_are_scaled_by_the_geometric_mean(scenario, node_pool):
    call = PPO.call("critic.values")
    modelled = CostModel(scenario, PPO)
    strategies = [RoleStrategy(train=ParallelStrategy.parse(text)) for text in ("p1t8d2", "p2t4d2")]
    known = [
        measured(call, factor * modelled.call(call, strategy, node_pool).seconds, strategy=strategy)
        for factor, strategy in zip((2, 8), strategies, strict=True)
    ]
    costs = CostModel(scenario, PPO, profiles=[profile(node_pool, *known)])
    other = RoleStrategy(infer=ParallelStrategy(tensor=4, data=4))
    scores = PPO.call("reward.scores")
    scaled = costs.call(scores, other, node_pool)
    assert scaled.origin == "scaled"
    expected = math.sqrt(2 * 8) * modelled.call(scores, other, node_pool).seconds
    assert scaled.seconds == pytest.approx(expected)
    assert costs.call(PPO.call("actor.update"), ACTOR, node_pool).origin == "modelled"


def test_a_call_measured_in_another_strategy_is_scaled_by_its_own_factor(scenario, node_pool):
    modelled = CostModel(scenario, PPO)
    known = RoleStrategy(train=ParallelStrategy.parse("p1t8d2"))
    calls = {PPO.call("critic.values"): 3, PPO.call("reward.scores"): 50}
    costs = CostModel(
        scenario,
        PPO,
        profiles=[
            profile(
                node_pool,
                *(
                    measured(call, factor * modelled.call(call, known, node_pool).seconds, strategy=known)
                    for call, factor in calls.items()
                ),
            )
        ],
    )
    other = RoleStrategy(train=ParallelStrategy.parse("p2t4d2"))
    for call, factor in calls.items():
        expected = factor * modelled.call(call, other, node_pool).seconds
        assert costs.call(call, other, node_pool).seconds == pytest.approx(expected)


def test_generation_and_its_weight_sync_have_factors_of_their_own(scenario, node_pool):
    """A strategy that costs what a measured one does is predicted as measured, part by part."""
    call = PPO.call("actor.generate")
    known = CostModel(scenario, PPO).call(call, ACTOR, node_pool)
    sync, work = 5 * known.reshard_seconds, 2 * (known.seconds - known.reshard_seconds)
    point = measured(call, work + sync, reshard_seconds=sync)
    costs = CostModel(scenario, PPO, profiles=[profile(node_pool, point)])
    room = ACTOR.generate.model_copy(update={"cache_tokens": 10**9})
    predicted = costs.call(call, ACTOR.model_copy(update={"generate": room}), node_pool)
    assert predicted.origin == "scaled"
    assert predicted.reshard_seconds == pytest.approx(sync)
    assert predicted.seconds == pytest.approx(work + sync)


def test_a_sync_that_was_not_told_apart_has_the_factor_of_the_whole_call(scenario, node_pool):
    call = PPO.call("actor.generate")
    known = CostModel(scenario, PPO).call(call, ACTOR, node_pool)
    costs = CostModel(scenario, PPO, profiles=[profile(node_pool, measured(call, 3 * known.seconds))])
    room = ACTOR.generate.model_copy(update={"cache_tokens": 10**9})
    predicted = costs.call(call, ACTOR.model_copy(update={"generate": room}), node_pool)
    assert predicted.seconds == pytest.approx(3 * known.seconds)
    assert predicted.reshard_seconds == pytest.approx(3 * known.reshard_seconds)


def test_a_profile_of_another_device_changes_nothing(scenario, node_pool):
    call = PPO.call("actor.update")
    costs = CostModel(scenario, PPO, profiles=[profile(node_pool, measured(call, 1.0), name="other")])
    assert costs.call(call, ACTOR, node_pool) == CostModel(scenario, PPO).call(call, ACTOR, node_pool)


def test_a_measured_model_that_the_scenario_lacks_scales_nothing(scenario, node_pool):
    call = PPO.call("actor.update")
    stranger = measured(call, 1.0).model_copy(update={"model": "stranger"})
    costs = CostModel(scenario, PPO, profiles=[profile(node_pool, stranger)])
    assert costs.call(call, ACTOR, node_pool).origin == "modelled"


def test_memory_names_every_kind_and_every_call(scenario, node_pool):
    memory = CostModel(scenario, PPO).memory("actor", ACTOR, node_pool)
    assert set(memory.persistent) == {"parameters", "gradients", "optimizer"}
    assert set(memory.transient) == {"actor.generate", "actor.update"}
    assert {"generation_weights", "kv_cache"} <= set(memory.transient["actor.generate"])


def test_the_training_half_alone_has_no_generation(scenario, node_pool):
    half = RoleStrategy(train=LAYOUT)
    assert set(CostModel(scenario, PPO).memory("actor", half, node_pool).transient) == {"actor.update"}


def test_generation_costs_depend_on_training_by_the_weight_sync_only(scenario, node_pool):
    costs, call = CostModel(scenario, PPO), PPO.call("actor.generate")
    other = ACTOR.model_copy(update={"train": ParallelStrategy(pipeline=2, tensor=4, data=2)})
    one, two = costs.call(call, ACTOR, node_pool), costs.call(call, other, node_pool)
    assert one.seconds - one.reshard_seconds == pytest.approx(two.seconds - two.reshard_seconds)
    assert one.reshard_seconds != two.reshard_seconds


def test_a_precision_that_the_device_lacks_is_refused_by_name(scenario, node_pool):
    device = node_pool.device.model_copy(update={"peak": {"fp32": 1e12}})
    lacking = node_pool.model_copy(update={"device": device})
    with pytest.raises(SpecError, match="a100-sxm-80gb: peak names no bf16"):
        CostModel(scenario, PPO).call(PPO.call("actor.update"), ACTOR, lacking)


def test_stage_cost_sums_the_slowest_pool_of_each_stage():
    seconds = {
        "actor.generate": 10.0,
        "critic.values": 1.0,
        "reference.logprobs": 2.0,
        "reward.scores": 4.0,
        "critic.update": 5.0,
        "actor.update": 7.0,
    }
    together = [("actor", "critic", "reference", "reward")]
    split = [("actor", "reference"), ("critic", "reward")]
    assert stage_cost(PPO, together, seconds) == 29.0
    assert stage_cost(PPO, split, seconds) == 10.0 + 5.0 + 7.0


def test_throughput_counts_prompts_and_responses(scenario):
    assert tokens_per_second(scenario, 2.0) == 1024 * 2048 / 2
