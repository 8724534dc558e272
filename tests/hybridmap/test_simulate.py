"""``hybridmap simulate`` on plans whose calls run ahead."""

import json
from pathlib import Path

import pytest

from hybridmap.__main__ import main
from planner.domain.reading import read_plan

ASYNCHRONOUS = [
    *("plan", "--model", "llama-3.2-1b", "--cluster", "1x4xa100-sxm-80gb", "--set", "staleness=1"),
    *("--set", "workload.prompts=64", "--set", "workload.mini_batches=4"),
    *("--set", "workload.prompt_tokens=256", "--set", "workload.response_tokens=4096"),
]


def test_an_asynchronous_plan_is_simulated_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "plan.json", tmp_path / "timeline.png"
    assert main([*ASYNCHRONOUS, "--out", str(path)]) == 0
    plan = read_plan(path)
    assert plan.staleness == 1
    assert plan.pool_of("generator").ahead["generator.generate"] > 0
    capsys.readouterr()
    assert main(["simulate", str(path), "--iterations", "12", "--plot", str(picture), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    starts = {(span["call"], span["iteration"]): span["start_s"] for span in answer["calls"]}
    assert {"generator.receive", "actor.send"} <= {call for call, _ in starts}
    assert starts["generator.generate", 1] < starts["actor.update", 0]
    period = (starts["actor.update", 9] - starts["actor.update", 3]) / 6
    assert period == pytest.approx(answer["iteration_seconds"])
    assert picture.stat().st_size > 0
