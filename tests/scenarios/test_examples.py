"""What the examples are there to show."""

from collections.abc import Callable

import pytest

import planner
from planner.domain.plan import Plan

COLOCATED = (("actor", "critic", "reference", "reward"),)


def best(name: str, **changes: object) -> Plan:
    scenario = planner.read_scenario(f"scenarios/examples/{name}.yaml").model_copy(update=changes)
    return planner.plan(scenario).plan


@pytest.mark.parametrize("time_model", ["period", "stage"])
def test_large_judges_are_not_best_colocated_with_the_policy(time_model: str) -> None:
    plan = best("ppo-large-judges", time_model=time_model)
    together = best("ppo-large-judges", time_model=time_model, colocate=COLOCATED)
    assert plan.placement != COLOCATED == together.placement
    assert together.proof.bound > 1.05 * plan.proof.objective


def test_a_rule_takes_no_devices() -> None:
    plan = best("dapo-7b")
    assert plan.placement == (("actor",),)
    assert set(plan.strategies) == set(plan.prediction.memory) == {"actor"}


def test_the_next_generation_starts_while_the_critic_still_learns() -> None:
    plan = best("safe-rlhf-8b")
    assert plan.prediction.iteration_seconds < 0.95 * plan.prediction.stage_cost_seconds
    assert "cost" not in {role for pool in plan.pools for role in pool.roles}


def test_generation_ahead_of_the_updates_saves_time() -> None:
    ahead, synchronous = best("grpo-7b-asynchronous"), best("grpo-7b-asynchronous", staleness=0)
    assert (ahead.staleness, synchronous.staleness) == (1, 0)
    assert ahead.proof.objective < 0.9 * synchronous.proof.bound


def test_two_kinds_of_devices_share_the_work_within_the_time() -> None:
    plan = best("grpo-7b-two-devices")
    assert {pool.node_pool for pool in plan.pools} == {"h100", "l40s"}
    assert plan.prediction.iteration_seconds <= 300


def test_generation_ahead_takes_most_devices_and_saves_time(
    plan_of: Callable[[str], Plan],
) -> None:
    ahead, synchronous = plan_of("examples/grpo-32b-asynchronous"), plan_of("examples/grpo-32b")
    assert ahead.proof.objective < 0.95 * synchronous.proof.bound
    generator = ahead.pool_of("generator")
    assert generator.roles == ("generator",)
    assert generator.devices > 80


def test_the_asynchronous_job_differs_in_nothing_but_staleness() -> None:
    ahead, synchronous = (
        planner.read_scenario(f"scenarios/examples/{name}.yaml")
        for name in ("grpo-32b-asynchronous", "grpo-32b")
    )
    assert ahead.model_copy(update={"name": synchronous.name, "staleness": 0}) == synchronous


@pytest.mark.parametrize("name", ["grpo-32b", "dapo-32b"])
def test_most_of_a_job_with_long_responses_is_generation(name: str, plan_of: Callable[[str], Plan]) -> None:
    prediction = plan_of(f"examples/{name}").prediction
    assert prediction.calls["actor.generate"].seconds > 0.6 * prediction.iteration_seconds
