"""A scenario that is planned in a fraction of a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.domain.reading import parse_scenario
from planner.domain.scenario import Scenario

ROLES = ("actor", "critic", "reference", "reward")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Scenario]:
    """PPO of a billion parameters on four devices, with other keys where they are given."""

    def build(**changes: Any) -> Scenario:
        value = {
            "name": "tiny",
            "algorithm": "ppo",
            "models": dict.fromkeys(ROLES, "llama-3.2-1b"),
            "cluster": "1x4xa100-sxm-80gb",
            "workload": {"prompts": 64, "prompt_tokens": 512, "response_tokens": 512, "mini_batches": 4},
        }
        return parse_scenario(value | changes, where="tiny", relative_to=Path())

    return build
