"""Options of ``hybridmap plan`` that stand for keys of the scenario, and what it answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from hybridmap.__main__ import main
from planner.domain.reading import read_plan

SMALL = [
    *("plan", "--model", "llama-3.2-1b", "--cluster", "1x4xa100-sxm-80gb"),
    *("--set", "workload.prompts=64", "--set", "workload.mini_batches=4"),
]
KEYS = {
    *("status", "objective", "bound", "solve_seconds", "iteration_seconds", "stage_cost_seconds"),
    *("tokens_per_second", "pools", "strategies", "memory", "idle_devices", "runners_up", "error_band"),
    *("time_model", "minimise", "gap", "staleness"),
}


def answer_of(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_answer_has_every_promised_key(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_of(SMALL, capsys)
    assert set(answer) >= KEYS
    assert answer["gap"] == 0
    for pool in answer["pools"]:
        assert set(pool) >= {"roles", "devices", "node_pool", "order", "ahead"}
    for strategy in answer["strategies"].values():
        assert set(strategy) >= {"train", "infer", "generate"}
    assert set(answer["memory"]["actor"]) == {"persistent", "generate", "train"}
    assert all(type(size) is int for role in answer["memory"].values() for size in role.values())
    assert answer["memory"]["actor"]["generate"] >= answer["memory"]["actor"]["persistent"]


@pytest.mark.parametrize(
    ("option", "key"),
    [
        (["--minimise", "tokens"], "minimise=tokens_per_second"),
        (["--minimise", "devices", "--within", "60"], "minimise=devices within=60s"),
        (["--within", "60"], "within=60s"),
        (["--within", "1 min"], "within=60s"),
        (["--time-model", "stage"], "time_model=stage"),
        (["--staleness", "1"], "staleness=1"),
        (["--runnable"], "capabilities=runtime"),
    ],
)
def test_an_option_is_the_key_of_its_name(
    option: list[str], key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    settings = [word for setting in key.split() for word in ("--set", setting.replace("60s", "60 s"))]
    runnable = [word.replace("llama-3.2-1b", "qwen2.5-1.5b") for word in SMALL]
    assert main([*runnable, *option, "--out", str(one)]) == 0
    assert main([*runnable, *settings, "--out", str(other)]) == 0
    assert one.read_text() == other.read_text()


def test_options_override_the_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    assert main([*SMALL, "--set", "time_model=stage", "--time-model", "period", "--out", str(path)]) == 0
    assert read_plan(path).scenario.time_model == "period"


@pytest.mark.parametrize("solver", ["cpsat", "dp", "exhaustive"])
def test_every_exact_solver_gives_the_same_objective(solver: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        answer_of([*SMALL, "--solver", solver], capsys)["objective"] == answer_of(SMALL, capsys)["objective"]
    )


def test_fewest_devices_under_a_time_limit(capsys: pytest.CaptureFixture[str]) -> None:
    fastest = answer_of(SMALL, capsys)
    loose = answer_of([*SMALL, "--minimise", "devices"], capsys)
    within = str(1.01 * fastest["objective"])
    tight = answer_of([*SMALL, "--minimise", "devices", "--within", within], capsys)
    assert loose["objective"] == sum(pool["devices"] for pool in loose["pools"])
    assert loose["objective"] <= tight["objective"] <= 4
    assert tight["iteration_seconds"] <= float(within)
    assert main([*SMALL, "--minimise", "devices"]) == 0
    assert f"objective {loose['objective']:g} devices" in capsys.readouterr().out


def test_dollars_are_shown_where_devices_have_a_price(capsys: pytest.CaptureFixture[str]) -> None:
    priced = [
        *SMALL,
        "--set",
        "cluster={node_pools: [{name: a, nodes: 1, devices_per_node: 4, device: a100-sxm-80gb, price: 2.0}]}",
    ]
    answer = answer_of([*priced, "--minimise", "dollars"], capsys)
    devices = sum(pool["devices"] for pool in answer["pools"])
    tokens = answer["tokens_per_second"]
    assert answer["objective"] == pytest.approx(2.0 / 3600 * devices / tokens * 1e6, rel=1e-4)
    assert main(priced) == 0
    assert "$ per million tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--minimise", "joy"],
        ["--within", "soon"],
        ["--within", "-1"],
        ["--time-limit", "nan"],
        ["--staleness", "-1"],
        ["--workers", "0"],
        ["--workers", "99999999"],
        ["--seed", "3000000000"],
        ["--time-model", "clock"],
        ["--placement", "anywhere"],
    ],
)
def test_a_wrong_option_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*SMALL, *words])
    assert caught.value.code == 2
    assert words[1] in capsys.readouterr().err


def test_a_time_limit_that_nothing_meets_says_the_fastest_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = answer_of([*SMALL, "--within", "0.001"], capsys, code=3)
    assert "the fastest takes" in answer["reason"]
    assert answer["fixes"][0]["kind"] == "within"


def test_nothing_is_written_when_nothing_fits(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert main([*SMALL, "--within", "0.001", "--out", str(path)]) == 3
    assert not path.exists()


def test_a_placement_without_a_plan_is_refused_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    described = ["plan", "--model", "qwen2.5-7b", "--cluster", "1x3xh100", "--placement", "split"]
    answer = answer_of(described, capsys, code=3)
    assert answer["reason"].startswith("--placement split (two pools of 1 device each)")
    assert answer["fix"] == "without --placement split there is a plan"


@pytest.mark.parametrize("place", ["", ".", "folder", "file/inside/plan.json"])
def test_a_place_for_the_plan_is_refused_before_it_is_solved_for(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("planner.studies.planning.plan", None)
    try:
        code = main([*SMALL, "--out", place])
    except SystemExit as error:
        code = error.code
    assert code == 2


def test_a_plan_of_any_name_is_known_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "myplan"
    assert main([*SMALL, "--out", str(path)]) == 0
    assert main(["explain", str(path)]) == 0
    assert main(["simulate", str(path)]) == 0
