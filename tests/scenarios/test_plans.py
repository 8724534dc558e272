"""Every example and every hypothetical cluster gets a proved plan with a price."""

from pathlib import Path

import pytest

import planner

FOLDER = Path(__file__).parents[2] / "scenarios"
SLOW = {"grpo-7b-two-devices"}
"""Take more than five seconds."""

PATHS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for folder in ("examples", "hypothetical")
    for path in sorted((FOLDER / folder).glob("*.yaml"))
]


@pytest.mark.parametrize("path", PATHS)
def test_every_scenario_gets_a_proved_plan_with_a_price(path: Path) -> None:
    plan = planner.plan(planner.read_scenario(path)).plan
    prediction = plan.prediction
    assert plan.proof.status == "optimal"
    assert prediction.dollars_per_million_tokens is not None
    spent = sum(
        pool.devices * (plan.scenario.cluster.node_pool(pool.node_pool).price or 0.0) for pool in plan.pools
    )
    tokens = prediction.tokens_per_second * 3600
    assert prediction.dollars_per_million_tokens == pytest.approx(spent / tokens * 1e6)
