"""``hybridmap list``."""

import json

import pytest

from hybridmap.__main__ import main


def test_every_algorithm_is_listed_with_its_roles_and_calls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "algorithms", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "algorithms": [
            "ppo",
            "remax",
            "safe_rlhf",
            "grpo",
            "dr_grpo",
            "rloo",
            "reinforce_plus_plus",
            "dapo",
            "gspo",
        ]
    }
    assert main(["list", "algorithms"]) == 0
    shown = capsys.readouterr()
    text = shown.out + shown.err
    for word in ("reward.baselines", "cost.costs", "actor, critic, reference, reward, cost"):
        assert word in text
