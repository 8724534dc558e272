"""Plans of the paper's scenarios, pinned; `python -m tests.planner.test_golden` writes them anew."""

import json
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.domain.reading import scenario_files
from planner.domain.text import dump_json, write_text

GOLDEN = Path(__file__).parents[1] / "golden" / "paper_plans.json"
SCENARIOS = [path for path in scenario_files() if "paper" in path.parts]
SMALL = {"ppo-7b-8", "ppo-7b-16", "ppo-13b-16", "ppo-34b-32", "ppo-70b-64"}


def planned(path: Path) -> dict[str, Any]:
    """What a person would want to know of a plan that changed."""
    plan = planner.plan(planner.read_scenario(path)).plan
    return {
        "pools": [f"{pool.devices}: {', '.join(pool.roles)}" for pool in plan.pools],
        "strategies": {role: str(strategy) for role, strategy in plan.strategies.items()},
        "objective": plan.proof.objective,
        "status": plan.proof.status,
        "runners_up": [[list(map(list, other.placement)), other.objective] for other in plan.runners_up],
    }


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in SMALL else pytest.mark.slow)
        for path in SCENARIOS
    ],
)
def test_the_plan_is_the_pinned_one(path: Path) -> None:
    assert planned(path) == json.loads(GOLDEN.read_text())[path.stem]


if __name__ == "__main__":
    write_text(GOLDEN, dump_json({path.stem: planned(path) for path in SCENARIOS}))
