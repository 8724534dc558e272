"""Lengths of responses from the command line: set, read beside the scenario, or refused."""

import json

import pytest
import yaml

from hybridmap.__main__ import main

MODEL = "qwen2.5-0.5b"
SCENARIO = {
    "name": "toy",
    "algorithm": "grpo",
    "models": {"actor": MODEL, "reference": MODEL, "reward": MODEL},
    "cluster": "1x8xh100-sxm-80gb",
    "workload": {
        "prompts": 32,
        "samples_per_prompt": 8,
        "prompt_tokens": 128,
        "response_tokens": {"mean": 500, "maximum": 8192},
    },
}


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    """A file in a folder of its own, with a trace beside it; the working directory is another one."""
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "scenario.yaml").write_text(yaml.safe_dump(SCENARIO))
    (folder / "f.csv").write_text("response_tokens\n100\n200\n900\n")
    monkeypatch.chdir(tmp_path)
    return "scenarios/scenario.yaml"


def planned(scenario, setting, capsys):
    code = main(["plan", scenario, "--set", setting, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "setting",
    [
        "workload.response_tokens.sigma=0.9",
        "workload.response_tokens={trace: f.csv, maximum: 8192}",
        "workload.response_tokens={median: 300, sigma: 1, maximum: 8192}",
        "workload.response_tokens={histogram: {edges: [0, 100, 900], counts: [2, 1]}}",
    ],
)
def test_lengths_are_set_and_traces_are_found_beside_the_scenario(scenario, setting, capsys):
    code, answer = planned(scenario, setting, capsys)
    assert code == 0
    assert answer["iteration_seconds"] > 0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("workload.response_tokens={trace: g.csv, maximum: 8192}", "no such file: scenarios/g.csv"),
        ("workload.response_tokens.trace=f.csv", "found mean and trace"),
        ("workload.response_tokens={trace: f.csv, column: x}", "line 1: no column x; found response_tokens"),
        ("workload.response_tokens={histogram: {edges: [0, 9, 5], counts: [1, 2]}}", "rising numbers"),
        ("workload.response_tokens.sigma=-1", "greater than 0, found -1"),
        ("workload.turns={count: 3, wait: 2}", "2 is not a quantity with a unit"),
    ],
)
def test_what_are_no_lengths_is_refused_before_anything_runs(scenario, setting, expected, capsys):
    code, answer = planned(scenario, setting, capsys)
    assert code == 2
    assert answer["status"] == "wrong input"
    assert expected in answer["reason"]
