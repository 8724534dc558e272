"""The command line as its users meet it: answers on standard output, mistakes in one line, exit codes."""

import json
from pathlib import Path

import pytest
import yaml

from hybridmap.__main__ import main
from planner.domain.reading import read_plan

PAPER = "scenarios/paper/ppo-7b-8.yaml"


def test_plan_answers_json_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", PAPER, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "optimal"
    assert answer["bound"] == pytest.approx(answer["objective"])
    assert set(answer["strategies"]) == {"actor", "critic", "reference", "reward"}
    assert sum(pool["devices"] for pool in answer["pools"]) + answer["idle_devices"] == 8
    assert answer["tokens_per_second"] == pytest.approx(1024 * 2048 / answer["iteration_seconds"])


def test_plan_prints_placement_memory_proof_and_runners_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", PAPER]) == 0
    out = capsys.readouterr().out
    for words in (
        "Order of calls",
        "Memory per device",
        "KV cache",
        "optimal by cpsat",
        "stage cost",
        "other placements",
        "actor.generate",
    ):
        assert words in out


def test_plan_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--model", "qwen2.5-7b", "--cluster", "1x8xH100", "--json"]
    assert main([*words, "--set", "workload.prompts=64"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "optimal"


def test_a_written_plan_is_read_and_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "plan.json"
    assert main(["plan", PAPER, "--out", str(path)]) == 0
    trace, plot = tmp_path / "trace.json", tmp_path / "timeline.png"
    capsys.readouterr()
    assert main(["simulate", str(path), "--json", "--trace", str(trace), "--plot", str(plot)]) == 0
    answer = json.loads(capsys.readouterr().out)
    plan = read_plan(path)
    assert answer["iteration_seconds"] == pytest.approx(plan.prediction.iteration_seconds, rel=0.01)
    assert answer["predicted_seconds"] == plan.prediction.iteration_seconds
    assert answer["calls"][-1]["end"] == pytest.approx(answer["iteration_seconds"])
    assert json.loads(trace.read_text())["traceEvents"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_commented_scenario_can_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    assert main(["new", str(path)]) == 0
    assert main(["plan", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "optimal"
    assert main(["new", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["models", "devices", "algorithms", "scenarios"])
def test_list_shows_what_can_be_named(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[kind]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan"], "name a scenario file"),
        (["plan", "nowhere.yaml"], "no such file"),
        (["plan", "nowhere.yaml", "--set", "a=1"], "no such file"),
        (["plan", PAPER, "--model", "llama-2-7b"], "not both"),
        (["plan", PAPER, "--set", "workload.prompts"], "write KEY=VALUE"),
        (["plan", PAPER, "--set", "workload.promts=3"], "did you mean 'prompts'"),
        (["plan", "--model", "llama-2-7b", "--cluster", "8xA100"], "is not a cluster"),
        (["plan", "--model", "llama-2-7b", "--cluster", "1x8xA1000"], "no device 'A1000'"),
        (
            ["plan", "--model", "llama-2-7b", "--cluster", "1x8xA100", "--algorithm", "pp0"],
            "is not one of ppo",
        ),
        (["simulate", PAPER, "--plot", "x.gif"], "end the name in .png"),
        (["simulate", PAPER, "--iterations", "0"], "at least 1"),
        (["simulate", "README.md"], "not valid YAML"),
        (["run", PAPER], "run: missing"),
        (["run", "scenarios/quickstart.yaml", "--iterations", "0"], "at least 1"),
        (["run", "scenarios/quickstart.yaml", "--resume"], "--resume needs --out"),
        (["run", "scenarios/quickstart.yaml", "--out", "README.md"], "README.md: is a file"),
        (["run", "scenarios/quickstart.yaml", "--out", "README.md/x"], "README.md is not a folder"),
        (["compare", "nowhere.json", "nowhere"], "no such file"),
    ],
)
def test_wrong_input_is_one_clear_message_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out


def test_what_does_not_fit_is_exit_code_3_with_a_reason_and_a_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "llama-2-70b", "--cluster", "1x8xA100", "--json"]) == 3
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["status"] == "infeasible"
    assert "GiB" in answer["reason"]
    assert answer["fix"]
    assert "Traceback" not in captured.err


def test_a_pool_larger_than_the_cluster_is_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", PAPER, "--set", "pin.actor.devices=64"]) == 3
    assert "64" in capsys.readouterr().err


def test_contradictory_constraints_are_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = yaml.safe_load(Path(PAPER).read_text())
    scenario |= {"colocate": [["actor", "critic"]], "apart": [["actor", "critic"]]}
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario))
    assert main(["plan", str(path)]) == 3
    assert "actor" in capsys.readouterr().err


def test_a_broken_plan_file_names_its_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    assert main(["simulate", str(path)]) == 2
    assert "scenario: missing" in capsys.readouterr().err


def test_the_exit_code_of_a_wrong_option_is_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan", PAPER, "--solver", "magic"])
    assert caught.value.code == 2


@pytest.mark.parametrize("option", ["--plot", "--trace"])
def test_a_place_that_cannot_be_written_is_said(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", PAPER, option, "README.md/inside/timeline.png"]) == 2
    assert "cannot be written" in capsys.readouterr().err
