"""``hybridmap explain``: prices, sensitivity, and what decides."""

import json
from pathlib import Path
from typing import Any

import pytest

from hybridmap.__main__ import main
from planner.domain.reading import read_plan

SCENARIO = ["--model", "llama-3.2-1b", "--cluster", "1x4xa100-sxm-80gb"]
SMALL = ["--set", "workload.prompts=64", "--set", "workload.mini_batches=4"]


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "plan.json"
    assert main(["plan", *SCENARIO, *SMALL, "--out", str(path)]) == 0
    return path


def answer_of(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, Any]:
    """The one JSON object on standard output."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_pin_has_a_price_in_seconds_by_call_and_by_placement(
    plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["explain", str(plan_file), "--with", "actor.train.tensor=4"], capsys)
    price = answer["price"]
    assert price["amount"] == pytest.approx(answer["after"]["objective"] - answer["before"]["objective"])
    assert price["percent"] == pytest.approx(100 * price["amount"] / answer["before"]["objective"])
    assert price["proven"]
    assert answer["after"]["strategies"]["actor"]["train"]["tensor"] == 4
    assert set(price["calls"]) <= set(answer["after"]["calls"])
    assert main(["explain", str(plan_file), "--with", "actor.train.tensor=4"]) == 0
    out = capsys.readouterr().out
    assert "actor.train.tensor=4: costs" in out
    assert "Calls that differ" in out


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        (["apart=actor,critic"], lambda plan: len(plan["pools"]) > 1),
        (
            ["colocate=actor,critic"],
            lambda plan: any({"actor", "critic"} <= set(p["roles"]) for p in plan["pools"]),
        ),
        (["actor.devices=2", "critic.devices=1"], lambda plan: plan["pools"][0]["devices"] == 2),
        (["actor.recompute=full"], lambda plan: plan["strategies"]["actor"]["recompute"] == "full"),
        (["actor.train=p1t2d2"], lambda plan: plan["strategies"]["actor"]["train"]["data"] == 2),
        (["time_model=stage"], lambda plan: plan["time_model"] == "stage"),
        (["maximum_devices=2"], lambda plan: all(pool["devices"] <= 2 for pool in plan["pools"])),
        (["cluster.node_pools.0.devices_per_node=2"], lambda plan: plan["pools"][0]["devices"] <= 2),
    ],
)
def test_any_key_can_be_tried(
    changes: list[str], holds: Any, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["explain", str(plan_file), "--with", *changes], capsys)
    assert holds(answer["after"])
    assert answer["price"]["amount"] >= -1e-5


def test_a_scenario_is_planned_first(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_of(["explain", "scenarios/paper/ppo-7b-8.yaml"], capsys)
    assert answer["status"] == "optimal"
    assert answer["critical"]["calls"]


def test_a_demand_that_nothing_meets_names_what_is_short_and_what_helps(
    plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["explain", str(plan_file), "--with", "actor.devices=64"], capsys, code=3)
    assert answer["status"] == "infeasible"
    assert "64" in answer["reason"]
    assert answer["fixes"][0]["kind"] == "demand"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["actor.train.tensor"], "write KEY=VALUE"),
        (["actor.train.tensro=4"], "is not a field of a plan"),
        (["colocate=actor,critik"], "critik"),
        (["workload.promts=4"], "did you mean 'prompts'"),
        (["cluster.node_pools.7.nodes=4"], "not an entry of a list"),
        (["actor.train.tensor=4", "a", "b"], "'b': write KEY=VALUE"),
    ],
)
def test_a_wrong_change_is_exit_code_2(
    changes: list[str], expected: str, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["explain", str(plan_file), "--with", *changes], capsys, code=2)
    assert answer["status"] == "wrong input"
    assert expected in answer["reason"]


def test_what_decides_adds_up_to_the_iteration(plan_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_of(["explain", str(plan_file)], capsys)
    critical = answer["critical"]
    total = sum(call["seconds"] for call in critical["calls"]) + critical["crossing_seconds"]
    assert total / critical["iterations"] == pytest.approx(critical["seconds"])
    assert critical["seconds"] == pytest.approx(answer["objective"], abs=1e-5)
    assert main(["explain", str(plan_file)]) == 0
    out = capsys.readouterr().out
    assert "decide" in out
    assert "other placements" in out


def test_sensitivity_is_a_table_of_improvements_with_progress_beside_it(
    plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_of(["explain", str(plan_file), "--sensitivity"], capsys)
    improvements = {each["improvement"]: each for each in answer["improvements"]}
    assert {"link inside a node x2", "memory of a device x1.25", "one node more"} <= set(improvements)
    assert improvements["memory of a device x2"]["amount"] <= 0
    assert improvements["h100-sxm-80gb"]["percent"] < 0
    assert any(call["growth"] < 0 for call in improvements["h100-sxm-80gb"]["calls"].values())


def test_hardware_that_is_not_there_cannot_be_measured(
    plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(plan_file), "--sensitivity", "--profile", "profile.json"]) == 2
    assert "--profile" in capsys.readouterr().err


def test_one_question_at_a_time(plan_file: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["explain", str(plan_file), "--sensitivity", "--with", "actor.devices=2"])
    assert caught.value.code == 2


def test_a_plan_that_is_none_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"pools": []}')
    assert main(["explain", str(path)]) == 2
    assert "scenario: missing" in capsys.readouterr().err


def test_a_plan_does_not_differ_from_itself(plan_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_of(["diff", str(plan_file), str(plan_file)], capsys)
    assert answer.pop("same") is True
    assert not any(answer.values())
    assert main(["diff", str(plan_file), str(plan_file)]) == 0
    assert "the plans are the same" in capsys.readouterr().out


def test_two_plans_differ_by_section(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    assert main(["plan", *SCENARIO, *SMALL, "--set", "pin.actor.train.tensor=4", "--out", str(other)]) == 0
    answer = answer_of(["diff", str(plan_file), str(other)], capsys)
    assert answer["same"] is False
    assert answer["scenario"]["pin.actor.train.tensor"] == [None, 4]
    assert answer["strategies"]["actor.train.tensor"][1] == 4
    one = read_plan(plan_file).prediction.calls["actor.update"].seconds
    assert answer["seconds"]["actor.update"][0] == one
    assert main(["diff", str(plan_file), str(other)]) == 0
    assert "actor.train.tensor" in capsys.readouterr().out
