"""Whole jobs."""

from functools import lru_cache

import numpy as np
import pytest

import planner
from planner.algorithms import dataflow_of
from planner.costs import CostModel
from planner.domain.job import Checkpoints, Failures, Growth, Job
from planner.errors import EndlessJobError, SpecError
from planner.simulation.job import grown
from planner.studies.planning import job_of


@lru_cache
def plan():
    return planner.plan(planner.read_scenario("scenarios/examples/grpo-7b.yaml")).plan


def report(**fields):
    job = Job(iterations=400, **fields)
    return job_of(plan().model_copy(update={"scenario": plan().scenario.model_copy(update={"job": job})}))


def test_a_job_like_any_other_iteration_is_so_many_of_them():
    found = report()
    assert found.seconds == pytest.approx(400 * planner.simulate(plan(), curves=False).iteration_seconds)
    assert found.device_hours == pytest.approx(32 * found.seconds / 3600)
    assert found.dollars == pytest.approx(2.25 * found.device_hours)
    assert found.tokens == pytest.approx(400 * plan().scenario.workload.total_tokens)
    assert (found.goodput, found.failures, found.best_checkpoint_every) == (1.0, 0.0, None)


def test_responses_that_double_take_longer_and_are_counted():
    found = report(growth=Growth(factor=2.0))
    first, last = found.stretches[0], found.stretches[-1]
    assert (first.iteration, last.iteration) == (0, 399)
    assert first.response_tokens == 2000
    assert last.response_tokens == pytest.approx(4000 * (1 - 0.5**4.096), rel=1e-3)
    assert 1.5 * first.seconds < last.seconds < 2.5 * first.seconds
    assert first.seconds < found.iteration_seconds < last.seconds
    work = plan().scenario.workload
    factors = 1 + np.arange(400) / 399
    means = [work.response_tokens.scaled(factor).mean for factor in factors.tolist()]
    mean = work.prompt_tokens.mean + np.mean(means)
    assert found.tokens == pytest.approx(400 * work.samples * mean, rel=2e-3)


def test_a_weight_sync_takes_what_it_took_however_long_responses_get():
    graph = dataflow_of(plan().scenario)
    costs = CostModel(plan().scenario, graph)
    known = plan().prediction.calls["actor.generate"]
    slow = known.model_copy(update={"seconds": known.seconds + 1000, "reshard_seconds": 1000.0})
    calls = plan().prediction.calls | {"actor.generate": slow}
    slower = plan().model_copy(update={"prediction": plan().prediction.model_copy(update={"calls": calls})})
    longer, _ = grown(slower, graph, costs, 2.0)
    found = longer.prediction.calls["actor.generate"]
    assert found.reshard_seconds == 1000.0
    assert 1.5 * known.seconds < found.seconds - 1000 < 4 * known.seconds


def test_growth_within_one_iteration_counts_for_all_the_others():
    sudden = report(growth=Growth(factor=2.0, iterations=1))
    assert [each.iteration for each in sudden.stretches] == [0, 1]
    first, last = (each.seconds for each in sudden.stretches)
    assert sudden.seconds == pytest.approx(first + 399 * last)


def test_growth_that_ends_early_costs_more_than_growth_over_the_whole_job():
    early = report(growth=Growth(factor=2.0, iterations=100))
    assert early.seconds > report(growth=Growth(factor=2.0)).seconds
    assert early.stretches[-1].iteration == 99


def test_a_checkpoint_writes_parameters_and_optimizer_states():
    """14 bytes of each of the actor's parameters: two of the weight, 12 of Adam's states and fp32 copy."""
    found = report(checkpoints=Checkpoints(every=10, bandwidth="10 GB/s"))
    size = 14 * plan().scenario.model_of("actor").parameters()
    assert found.parts["checkpoints"] == pytest.approx(40 * size / 1e10)


def test_checkpoints_behind_the_training_stop_nothing():
    behind = report(checkpoints=Checkpoints(every=10, bandwidth="10 GB/s", asynchronous=True))
    assert behind.parts["checkpoints"] == 0.0
    slow = report(checkpoints=Checkpoints(every=1, bandwidth="100 MB/s", asynchronous=True))
    assert slow.parts["checkpoints"] > 0.0


def test_failures_of_more_devices_come_more_often_and_lower_the_goodput():
    breaks = Failures(mean_time_between="5000 h", restart="20 min")
    checkpoints = Checkpoints(every=20, bandwidth="2 GB/s")
    found = report(failures=breaks, checkpoints=checkpoints)
    assert found.failures == pytest.approx(found.seconds / 3600 / (5000 / 32))
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    assert found.goodput == pytest.approx(found.parts["training"] / found.seconds)
    best = report(
        failures=breaks, checkpoints=checkpoints.model_copy(update={"every": found.best_checkpoint_every})
    )
    assert best.seconds <= found.seconds


def test_only_devices_that_the_plan_takes_fail():
    breaks = Failures(mean_time_between="5000 h", restart="20 min")
    job = Job(iterations=400, failures=breaks, checkpoints=Checkpoints(every=20, bandwidth="2 GB/s"))
    more = plan().scenario.with_node_pools(lambda pool: pool.model_copy(update={"nodes": 8}))
    scenario = more.model_copy(update={"job": job})
    half = plan().model_copy(update={"scenario": scenario, "idle_devices": 32})
    assert (half.used_devices, scenario.cluster.devices) == (32, 64)
    found = job_of(half)
    assert found.failures == pytest.approx(found.seconds / 3600 / (5000 / 32))
    assert found.device_hours == pytest.approx(32 * found.seconds / 3600)


def test_a_checkpoint_behind_the_training_is_complete_later_and_failures_lose_more():
    """By what it takes to write it, each but those in the first of the 20 parts."""
    breaks = Failures(mean_time_between="50000 h", restart="20 min")
    size = 14 * plan().scenario.model_of("actor").parameters()
    quick, slow = (
        report(
            failures=breaks, checkpoints=Checkpoints(every=20, bandwidth=f"{rate} MB/s", asynchronous=True)
        )
        for rate in (10_000, 50)
    )
    assert quick.parts["checkpoints"] == slow.parts["checkpoints"] == 0.0
    more = size * (1 / 50e6 - 1 / 10e9)
    assert slow.parts["lost"] - quick.parts["lost"] == pytest.approx(
        19 / 20 * more * quick.failures, rel=1e-3
    )


def test_a_job_without_checkpoints_that_fails_too_often_is_refused():
    with pytest.raises(EndlessJobError, match=r"no checkpoint is written.*add job\.checkpoints"):
        report(failures=Failures(mean_time_between="50 h", restart="20 min"))


def test_a_job_that_is_not_there_is_asked_for():
    with pytest.raises(SpecError, match="job: missing"):
        job_of(plan())


def test_equal_lengths_that_should_grow_are_refused_with_what_to_change(tmp_path):
    text = (
        "name: grows\nalgorithm: ppo\ncluster: 1x8xh100-sxm-80gb\n"
        "models: {actor: llama-2-7b, critic: llama-2-7b, reference: llama-2-7b, reward: llama-2-7b}\n"
        "workload: {prompts: 64, prompt_tokens: 100, response_tokens: 100}\n"
        "job: {iterations: 10, growth: {factor: 2}}\n"
    )
    path = tmp_path / "grows.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"job\.growth: all responses have their maximum of 100 tokens"):
        planner.read_scenario(path)


def test_a_job_of_very_many_iterations_is_summed_without_listing_them():
    many = Job(iterations=10**9, growth=Growth(factor=1.5))
    few = Job(iterations=1001, growth=Growth(factor=1.5))
    scenarios = [plan().scenario.model_copy(update={"job": job}) for job in (many, few)]
    one, other = (job_of(plan().model_copy(update={"scenario": each})) for each in scenarios)
    assert one.iteration_seconds == pytest.approx(other.iteration_seconds, rel=1e-3)


def test_growth_is_summed_as_it_is_interpolated():
    found = report(growth=Growth(factor=2.0, iterations=101))
    at, seconds = zip(*((each.iteration, each.seconds) for each in found.stretches), strict=True)
    expected = np.interp(np.arange(400), at, seconds).mean()
    assert found.iteration_seconds == pytest.approx(expected, rel=1e-12)
