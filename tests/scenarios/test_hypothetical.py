"""What the files of hypothetical clusters say of their plans."""

from collections.abc import Callable

import pytest

import planner
from planner.domain.pins import Pins
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario


def read(name: str, folder: str = "hypothetical") -> Scenario:
    return planner.read_scenario(f"scenarios/{folder}/{name}.yaml")


def best(scenario: Scenario) -> Plan:
    return planner.plan(scenario).plan


def node_pool_of(plan: Plan, role: str) -> str:
    return next(pool.node_pool for pool in plan.pools if role in pool.roles)


def with_network(scenario: Scenario, bandwidth: float) -> Scenario:
    return scenario.with_node_pools(
        lambda pool: pool.model_copy(
            update={"network": pool.network.model_copy(update={"bandwidth": bandwidth})}
        )
    )


@pytest.mark.parametrize(
    ("name", "devices"),
    [("dapo-70b-1024-h200", 1024), ("grpo-235b-4096-b200", 4096), ("grpo-405b-16384-h100", 16384)],
)
def test_the_large_clusters_are_as_large_as_they_say(name: str, devices: int) -> None:
    (pool,) = read(name).cluster.node_pools
    assert pool.devices == devices


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dapo-70b-1024-h200", "grpo-235b-4096-b200", "grpo-405b-16384-h100"])
def test_pins_of_large_clusters_cost_nothing(name: str) -> None:
    pinned = read(name)
    free = pinned.model_copy(update={"pin": Pins.model_validate({})})
    assert best(free).proof.objective == best(pinned).proof.objective


def test_generation_comes_out_on_the_cheap_devices(plan_of: Callable[[str], Plan]) -> None:
    plan = plan_of("hypothetical/grpo-8b-h100-l40s")
    assert plan.staleness == 1
    assert node_pool_of(plan, "generator") == "l40s"
    assert node_pool_of(plan, "actor") == node_pool_of(plan, "reference") == "h100"


def test_generation_on_the_expensive_devices_is_slower_and_cheaper(plan_of: Callable[[str], Plan]) -> None:
    scenario = read("grpo-8b-h100-l40s")
    chosen = plan_of("hypothetical/grpo-8b-h100-l40s").prediction
    pin = Pins.model_validate({"generator.node_pool": "h100"})
    pinned = best(scenario.model_copy(update={"pin": pin})).prediction
    assert pinned.iteration_seconds > 1.7 * chosen.iteration_seconds
    assert pinned.dollars_per_million_tokens is not None is not chosen.dollars_per_million_tokens
    assert pinned.dollars_per_million_tokens < 0.95 * chosen.dollars_per_million_tokens


def test_on_two_nodes_of_expensive_devices_generation_is_faster_there() -> None:
    scenario = read("grpo-8b-h100-l40s")
    two = scenario.cluster.node_pool("h100").model_copy(update={"nodes": 2})
    assert node_pool_of(best(scenario.with_node_pool(two)), "generator") == "h100"


def test_the_fast_network_is_all_that_differs_from_the_example() -> None:
    fast, example = read("ppo-large-judges-fast-network"), read("ppo-large-judges", "examples")
    (pool,) = example.cluster.node_pools
    faster = with_network(example, 10 * pool.network.bandwidth)
    assert fast.cluster.node_pools == faster.cluster.node_pools
    assert fast.model_copy(update={"name": example.name, "cluster": example.cluster}) == example


def test_a_fast_network_buys_a_little_and_changes_the_placement(plan_of: Callable[[str], Plan]) -> None:
    fast, example = (
        plan_of("hypothetical/ppo-large-judges-fast-network"),
        plan_of("examples/ppo-large-judges"),
    )
    period = fast.prediction.iteration_seconds
    assert 1.05 * period < example.prediction.iteration_seconds < 1.2 * period
    assert fast.placement != example.placement
    less = with_network(fast.scenario, 200e9)
    assert best(less).prediction.iteration_seconds == pytest.approx(period, rel=0.001)
