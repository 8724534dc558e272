"""The quickstart teaches what it says, whatever the seed."""

import json
from pathlib import Path

import pytest

import planner
from runtime import run

ITERATIONS = 15


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reward_rises_clearly_above_its_start(seed: int, tmp_path: Path) -> None:
    scenario = planner.read_scenario("scenarios/quickstart.yaml")
    settings = scenario.run.model_copy(update={"seed": seed})
    plan = planner.plan(scenario.model_copy(update={"run": settings})).plan
    assert str(plan.strategies["actor"].train) == "p1t2d2"
    assert plan.strategies["actor"].generate.tensor == 1
    run(plan, out=tmp_path, iterations=ITERATIONS)
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rewards = [each["critic/score/mean"] for each in metrics]
    assert len(rewards) == ITERATIONS
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.8
    assert max(each["reshard/logprob_difference_max"] for each in metrics) < 1e-4
