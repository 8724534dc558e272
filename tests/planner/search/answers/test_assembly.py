"""Plans of solved problems: orders, both time models, money, and what runners-up lose."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.costs.iteration import period, slowest_circle, stage_cost
from planner.domain.capabilities import RUNTIME
from planner.domain.plan import Plan
from planner.search import solve
from tests.planner.search.toys import Case

Build = Callable[..., Case]

SEEDS = range(6)


def planned(synthetic: Build, seed: int, **changes: Any) -> tuple[Case, Plan]:
    case = synthetic(seed, pools=[(1, 6)], bytes_scale=0.3, **changes)
    return case, solve(*case.arguments).plan


def seconds_of(plan: Plan) -> dict[str, float]:
    return {name: call.seconds for name, call in plan.prediction.calls.items()}


@pytest.mark.parametrize("time_model", ["stage", "period"])
@pytest.mark.parametrize("seed", SEEDS)
def test_both_time_models_are_those_of_the_plan_itself(synthetic: Build, seed: int, time_model: str) -> None:
    case, plan = planned(synthetic, seed, time_model=time_model)
    seconds, prediction = seconds_of(plan), plan.prediction
    assert prediction.iteration_seconds == period(case.graph, plan.pools, seconds)
    assert prediction.stage_cost_seconds == pytest.approx(stage_cost(case.graph, plan.placement, seconds))
    assert prediction.iteration_seconds <= prediction.stage_cost_seconds + 1e-9
    decided = {"stage": prediction.stage_cost_seconds, "period": prediction.iteration_seconds}
    assert plan.proof.time_model == time_model
    assert plan.proof.objective == pytest.approx(decided[time_model], abs=2e-5)
    assert prediction.iteration_low < prediction.iteration_seconds < prediction.iteration_high


@pytest.mark.parametrize("seed", SEEDS)
def test_each_time_model_finds_the_least_of_its_own_seconds(synthetic: Build, seed: int) -> None:
    (_, by_stage), (_, by_period) = (
        planned(synthetic, seed, time_model=time_model) for time_model in ("stage", "period")
    )
    assert by_period.prediction.iteration_seconds <= by_stage.prediction.iteration_seconds + 2e-5
    assert by_stage.prediction.stage_cost_seconds <= by_period.prediction.stage_cost_seconds + 2e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_runtime_that_cannot_mix_iterations_gets_orders_with_nothing_ahead(
    synthetic: Build, seed: int
) -> None:
    """And the best period without it, which mixing never makes longer."""
    can = RUNTIME.model_copy(update={"ahead": False})
    case, plain = planned(synthetic, seed, capabilities=can)
    _, mixed = planned(synthetic, seed, capabilities=can.model_copy(update={"ahead": True}))
    assert not any(pool.ahead for pool in plain.pools)
    assert plain.proof.objective >= mixed.proof.objective
    assert slowest_circle(case.graph, plain.pools, seconds_of(plain)).period <= plain.proof.objective


@pytest.mark.parametrize("seed", SEEDS)
def test_a_runner_up_loses_in_a_call_that_takes_longer_or_had_not_to_be_waited_for(
    synthetic: Build, seed: int
) -> None:
    _, plan = planned(synthetic, seed, time_model="period")
    for other in plan.runners_up:
        assert other.objective >= plan.proof.objective
        assert other.loses_in in plan.prediction.calls
        assert other.loses_seconds > 0 or other.objective == plan.proof.objective


def test_dollars_are_those_of_the_pools_devices(synthetic: Build) -> None:
    case, plan = planned(synthetic, 1)
    assert plan.prediction.dollars_per_million_tokens is None
    (pool,) = case.scenario.cluster.node_pools
    cluster = case.scenario.cluster.model_copy(
        update={"node_pools": (pool.model_copy(update={"price": 3.6}),)}
    )
    priced = solve(case.scenario.model_copy(update={"cluster": cluster}), case.graph, case.costs).plan
    devices = sum(each.devices for each in priced.pools)
    tokens = priced.scenario.workload.total_tokens
    expected = devices * 3.6 / 3600 * priced.prediction.iteration_seconds / tokens * 1e6
    assert priced.prediction.dollars_per_million_tokens == pytest.approx(expected)
