"""Every example and every hypothetical cluster gets a proved plan with a price."""

from collections.abc import Callable
from pathlib import Path

import pytest

from planner.domain.plan import Plan

FOLDER = Path(__file__).parents[2] / "scenarios"
SLOW = {"grpo-7b-two-devices"}
"""Take more than five seconds."""

NAMES = [
    pytest.param(f"{folder}/{path.stem}", marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for folder in ("examples", "hypothetical")
    for path in sorted((FOLDER / folder).glob("*.yaml"))
]


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_gets_a_proved_plan_with_a_price(name: str, plan_of: Callable[[str], Plan]) -> None:
    plan = plan_of(name)
    prices = {pool.name: pool.price or 0.0 for pool in plan.scenario.cluster.node_pools}
    dollars_per_second = sum(pool.devices * prices[pool.node_pool] for pool in plan.pools) / 3600
    assert plan.proof.status == "optimal"
    assert plan.prediction.dollars_per_million_tokens == pytest.approx(
        1e6 * dollars_per_second / plan.prediction.tokens_per_second
    )
    assert min(prices.values()) > 0
