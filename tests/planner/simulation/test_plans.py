"""Iterations of a plan with generations event by event."""

import itertools
import os
import subprocess
import sys
from functools import lru_cache

import pytest

import planner
from planner.algorithms import planned_dataflow
from planner.costs.iteration import period
from planner.domain.capabilities import Capabilities
from planner.domain.job import Rollouts
from planner.domain.lengths import TokenLengths
from planner.domain.pins import Pins
from planner.domain.workload import Turns
from planner.simulation.plans import most_ahead
from tests.planner.simulation.crossing import crossing_plan

EQUAL_LENGTHS = ("ppo-7b-8", "ppo-13b-16", "ppo-34b-32", "ppo-70b-64", "remax-7b-8", "safe-rlhf-7b-8")


@lru_cache
def plan_of(path, staleness=0, placement=None):
    scenario = planner.read_scenario(f"scenarios/{path}.yaml")
    scenario = planner.fixed_placement(scenario, placement) if placement else scenario
    demands = {"staleness": staleness, "time_model": "period"}
    return planner.plan(scenario.model_copy(update=demands)).plan


def changed(plan, **fields):
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update=fields)})


def with_work(plan, **fields):
    return changed(plan, workload=plan.scenario.workload.model_copy(update=fields))


@pytest.mark.parametrize("name", EQUAL_LENGTHS)
def test_colocated_and_of_one_length_the_simulation_takes_what_the_plan_says(name):
    plan = plan_of(f"paper/{name}", placement="colocate")
    found = planner.simulate(plan, iterations=2)
    assert found.iteration_seconds == pytest.approx(plan.prediction.iteration_seconds, rel=0.01)
    assert found.tokens_per_second == pytest.approx(plan.prediction.tokens_per_second, rel=0.01)


@pytest.mark.parametrize("staleness", [1, 2])
@pytest.mark.parametrize("name", ["ppo-7b-16", "ppo-13b-64"])
def test_asynchronous_the_simulated_period_is_the_searched_one(name, staleness):
    plan = plan_of(f"paper/{name}", staleness)
    assert plan.staleness == staleness
    for iterations in (1, 2, None, 24):
        found = planner.simulate(plan, iterations=iterations)
        assert found.iteration_seconds == pytest.approx(plan.prediction.iteration_seconds, rel=0.01)


def test_orders_take_the_period_that_was_searched_for_whatever_generation_takes():
    """With lengths that vary, what is left between plan and simulation is generation's closed form."""
    plan = plan_of("examples/grpo-7b-asynchronous", 1)
    graph, found = planned_dataflow(plan), planner.simulate(plan)
    seconds = {name: call.seconds for name, call in plan.prediction.calls.items()}
    events = [one.seconds for one in found.generation]
    seconds["generator.generate"] = sum(events) / len(events)
    assert found.iteration_seconds == pytest.approx(period(graph, plan.pools, seconds), rel=0.01)


def test_the_steady_state_waits_for_a_pipeline_that_fills_slowly():
    """Eight iterations end sooner after each other than any plan could go on for."""
    plan = plan_of("paper/ppo-13b-128", 2)
    found = planner.simulate(plan)
    assert found.iteration_seconds == pytest.approx(plan.prediction.iteration_seconds, rel=0.01)
    assert found.iteration_seconds >= 0.99 * plan.proof.bound


def test_calls_that_are_ahead_count_in_the_steady_state():
    plan = plan_of("examples/safe-rlhf-8b")
    assert most_ahead(plan) == 1
    found = planner.simulate(plan, iterations=2)
    assert found.iteration_seconds == pytest.approx(plan.prediction.iteration_seconds, rel=0.02)


def test_idle_device_seconds_are_those_of_the_steady_state():
    plan = plan_of("examples/grpo-7b-asynchronous", 1)
    few, many = (planner.simulate(plan, iterations=count) for count in (3, 12))
    for one, other in zip(few.idle, many.idle, strict=True):
        assert one.busy / one.device_seconds == pytest.approx(other.busy / other.device_seconds, abs=0.03)
    assert sum(each.busy for each in few.idle) > 0.9 * sum(each.device_seconds for each in few.idle)


def test_lengths_that_vary_make_iterations_differ_and_take_about_what_the_plan_says():
    plan = plan_of("examples/grpo-7b")
    found = planner.simulate(plan, iterations=4)
    seconds = [one.seconds for one in found.generation]
    assert len(set(seconds)) == 4
    assert found.iteration_seconds == pytest.approx(plan.prediction.iteration_seconds, rel=0.06)


@pytest.mark.parametrize(
    "path",
    ["paper/ppo-13b-128", "examples/grpo-7b-asynchronous", "examples/ppo-large-judges", "examples/dapo-7b"],
)
def test_device_seconds_are_busy_or_idle_for_a_cause(path):
    scenario = planner.read_scenario(f"scenarios/{path}.yaml")
    found = planner.simulate(planner.plan(scenario).plan, iterations=3)
    assert sum(each.devices for each in found.idle) == scenario.cluster.devices
    for each in found.idle:
        assert each.busy >= 0
        assert all(seconds > 0 for seconds in each.idle.values())
        assert each.busy + sum(each.idle.values()) == pytest.approx(each.device_seconds, rel=1e-9)
        assert each.device_seconds == pytest.approx(each.devices * found.iteration_seconds)


def test_no_two_spans_overlap_on_a_pool():
    found = planner.simulate(plan_of("examples/grpo-7b-asynchronous", 2), iterations=8)
    for pool in found.timeline.pools:
        spans = [span for span in found.timeline.spans if span.pool == pool]
        assert all(one.end_s <= other.start_s + 1e-9 for one, other in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "lengths", [TokenLengths(mean=1024, maximum=1024), TokenLengths(mean=300, maximum=1024, sigma=0.8)]
)
def test_more_memory_for_the_cache_never_lengthens_generation(lengths):
    """Full reservation: the search fills the memory with even waves, whose number only falls."""
    scenario = planner.fixed_placement(planner.read_scenario("scenarios/paper/ppo-7b-16.yaml"), "colocate")
    pins = {"actor.train": "p1t8d2", "actor.generate.tensor": 2, "actor.generate.pipeline": 1}
    workload = scenario.workload.model_copy(update={"response_tokens": lengths})
    demands = {"pin": Pins(pins), "workload": workload, "capabilities": WHOLE_CACHES}
    scenario, found = scenario.model_copy(update=demands), []
    for gib in (48, 56, 64, 80, 96, 128, 192):
        plan = planner.plan(with_memory(scenario, gib), settings=planner.SearchSettings(runners_up=0)).plan
        (one,) = planner.simulate(plan, curves=False).generation
        found.append((one.seconds, plan.strategies["actor"].generate.max_sequences))
    assert all(more[0] <= 1.001 * less[0] for less, more in itertools.pairwise(found)), found
    assert found[-1][1] > found[0][1]


WHOLE_CACHES = Capabilities(
    algorithms=("ppo",),
    families=("llama",),
    precisions=("bf16",),
    **{
        name: name != "cache_tokens"
        for name, field in Capabilities.model_fields.items()
        if field.annotation is bool
    },
)


def with_memory(scenario, gib):
    (pool,) = scenario.cluster.node_pools
    device = pool.device.model_copy(update={"memory": gib * 2**30})
    return scenario.with_node_pool(pool.model_copy(update={"device": device}))


def test_a_critic_on_a_pool_of_its_own_waits_for_the_actors_responses():
    (actor, critic) = planner.simulate(plan_of("paper/ppo-7b-128"), iterations=4).idle
    assert set(critic.idle) == {"inputs"}
    assert critic.idle["inputs"] > 0.2 * critic.device_seconds
    assert actor.busy > 0.98 * actor.device_seconds


def test_two_node_pools_wait_for_the_slow_link_between_them():
    plan = crossing_plan(bandwidth="100 MB/s")
    found = planner.simulate(plan, iterations=5)
    causes = {cause for each in found.idle for cause in each.idle}
    assert "link" in causes
    fast = planner.simulate(crossing_plan(bandwidth="100 GB/s"), iterations=5)
    assert all(each.idle.get("link", 0.0) < 0.01 * each.device_seconds for each in fast.idle)


def test_a_judge_that_takes_its_time_is_waited_for_as_a_service():
    found = planner.simulate(plan_of("examples/dapo-7b"), iterations=2)
    assert found.idle[0].idle["service"] > 0


@pytest.mark.parametrize(("samples", "at_most"), [(16, 0.95), (1, 0.87)])
def test_carrying_unfinished_responses_on_takes_the_tail_off_an_iteration(samples, at_most):
    """More of it where prompts have one sample each, and are whole with it."""
    work = {"prompts": 8192 // samples, "samples_per_prompt": samples}
    plan = with_work(plan_of("examples/grpo-7b"), **work)
    whole, partial = (
        planner.simulate(changed(plan, rollouts=Rollouts(carry=carry)), iterations=6, curves=False)
        for carry in (0.0, 0.25)
    )
    assert 0.8 < partial.iteration_seconds / whole.iteration_seconds < at_most


def test_answers_of_tools_lengthen_an_iteration_and_leave_devices_waiting():
    plan = plan_of("paper/ppo-7b-16")
    quick = planner.simulate(plan)
    slow = planner.simulate(with_work(plan, turns=Turns(count=3, wait="20 s", tokens=100)))
    assert slow.iteration_seconds > quick.iteration_seconds + 2 * 20
    assert slow.idle[0].idle["tools"] > 0
    assert "tools" not in quick.idle[0].idle


def test_the_queue_of_a_router_costs_little_where_replicas_are_equally_busy():
    lengths = TokenLengths(mean=2000, maximum=8192, sigma=1.2)
    plan = with_work(plan_of("examples/grpo-7b"), response_tokens=lengths)
    split, queue = (
        planner.simulate(changed(plan, rollouts=Rollouts(balance=balance)), iterations=4)
        for balance in ("split", "queue")
    )
    assert queue.iteration_seconds < 1.02 * split.iteration_seconds


def test_measured_generations_keep_their_correction():
    plan = plan_of("paper/ppo-7b-8")
    call = plan.prediction.calls["actor.generate"]
    decoding = call.seconds - call.reshard_seconds
    slower = call.model_copy(update={"seconds": call.seconds + decoding, "origin": "scaled"})
    calls = plan.prediction.calls | {"actor.generate": slower}
    prediction = plan.prediction.model_copy(update={"calls": calls})
    before = planner.simulate(plan).generation[0]
    after = planner.simulate(plan.model_copy(update={"prediction": prediction})).generation[0]
    assert after.seconds == pytest.approx(2 * before.seconds, rel=1e-6)
    assert after.curve[3].tokens_per_second == pytest.approx(before.curve[3].tokens_per_second / 2)


_PRINT = """
import planner
scenario = planner.read_scenario("scenarios/examples/grpo-7b-asynchronous.yaml")
print(planner.simulate(planner.plan(scenario).plan, iterations=3).model_dump_json())
"""


def test_the_same_seed_gives_the_same_bytes_in_any_process():
    printed = {
        subprocess.run(
            [sys.executable, "-c", _PRINT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    other = changed(plan_of("examples/grpo-7b-asynchronous", 1), rollouts=Rollouts(seed=7))
    again = planner.simulate(other, iterations=3).model_dump_json().encode()
    assert again not in {text.strip() for text in printed}
