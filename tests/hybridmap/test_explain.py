"""``hybridmap explain``: prices, sensitivity, and what decides."""

import json
import math
from pathlib import Path
from typing import Any, cast

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


def pool_of(plan: dict[str, Any], role: str) -> dict[str, Any]:
    (pool,) = (pool for pool in plan["pools"] if role in pool["roles"])
    return pool


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
        (["apart=actor,critic"], lambda plan: pool_of(plan, "actor") != pool_of(plan, "critic")),
        (["colocate=actor,critic"], lambda plan: pool_of(plan, "actor") == pool_of(plan, "critic")),
        (
            ["actor.devices=2", "critic.devices=1"],
            lambda plan: [pool_of(plan, role)["devices"] for role in ("actor", "critic")] == [2, 1],
        ),
        (["actor.recompute=full"], lambda plan: plan["strategies"]["actor"]["recompute"] == "full"),
        (["actor.train=p1t2d2"], lambda plan: plan["strategies"]["actor"]["train"]["data"] == 2),
        (["time_model=stage"], lambda plan: plan["time_model"] == "stage"),
        (["maximum_devices=2"], lambda plan: all(pool["devices"] <= 2 for pool in plan["pools"])),
        (
            ["cluster.node_pools.0.devices_per_node=2"],
            lambda plan: all(pool["devices"] <= 2 for pool in plan["pools"]),
        ),
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
    faster = next(
        each for words, each in improvements.items() if words.startswith("h100-sxm-80gb in the place")
    )
    assert faster["percent"] < 0
    assert any(call["growth"] < 0 for call in faster["calls"].values())


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


def changed(plan: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A plan's keys with the one at a path replaced; left out where the value is None."""
    *parents, key = (int(part) if part.isdecimal() else part for part in path.split("/"))
    place = copy = json.loads(json.dumps(plan))
    for part in parents:
        place = place[part]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return cast(dict[str, Any], copy)


HUGE = "1e999"
"""Valid JSON, and more than any float."""
BROKEN: dict[str, tuple[str, Any, str]] = {
    "an objective of its own": ("proof/objective", 1.0, "objective: 1.0"),
    "a size that fits nowhere": ("strategies/actor/train/tensor", 3, "layout: actor"),
    "half of the devices": ("pools/0/devices", 1, "idle devices: "),
    "a strategy missing": ("strategies/reward", None, "strategies: reward takes devices"),
    "no order": ("pools/0/order", [], "order: pool-0"),
    "no pools": ("pools", [], "partition: actor is in 0 pools"),
    "a pool of no role": ("pools/0/roles", [], "partition: pool-0"),
    "a call missing": ("prediction/calls/actor.update", None, "prediction: actor.update"),
    "seconds that are no number": (
        "prediction/calls/actor.update/seconds",
        math.nan,
        "NaN is not a number",
    ),
    "a bound without end": ("proof/bound", HUGE, "1e999 is not a number"),
    "less than no seconds": (
        "prediction/calls/actor.update/seconds",
        -1.0,
        "numbers: actor.update takes -1.0 s",
    ),
}


@pytest.mark.parametrize("command", ["explain", "simulate"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_plan_that_was_changed_is_refused(
    name: str, command: str, plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, (key, value, expected) = tmp_path / "plan.json", BROKEN[name]
    text = json.dumps(changed(json.loads(plan_file.read_text()), key, value))
    path.write_text(text.replace(f'"{HUGE}"', HUGE))
    answer = answer_of([command, str(path)], capsys, code=2)
    assert answer["status"] == "wrong input"
    assert answer["reason"].startswith(f"{path}: ")
    assert expected in answer["reason"]


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


SLOW_LINK = """\
name: slow-link
algorithm: grpo
models: {actor: llama-3.2-1b, reference: llama-3.2-1b}
services: {reward: {seconds_per_sample: 50 ms, concurrency: 8}}
staleness: 1
pin: {generator.node_pool: new, actor.node_pool: old}
cluster:
  node_pools:
    - {name: old, device: a100-sxm-80gb, nodes: 1, devices_per_node: 2,
       network: {bandwidth: 25 GB/s, latency: 5 us}}
    - {name: new, device: h100-sxm-80gb, nodes: 1, devices_per_node: 2,
       network: {bandwidth: 25 GB/s, latency: 5 us}}
  between: {bandwidth: 20 MB/s, latency: 1 ms}
workload: {prompts: 32, samples_per_prompt: 4, prompt_tokens: 512, response_tokens: 2048, mini_batches: 4}
"""


def test_a_link_that_decides_is_named_with_what_crosses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "slow-link.yaml"
    file.write_text(SLOW_LINK)
    critical = answer_of(["explain", str(file)], capsys)["critical"]
    assert (critical["kind"], critical["link"], critical["calls"]) == ("link", ["old", "new"], [])
    assert critical["crossings"][0]["target"] == "generator.receive"
    assert critical["crossing_seconds"] == critical["seconds"]
    assert main(["explain", str(file)]) == 0
    out = capsys.readouterr().out
    assert "what crosses from old to new in an iteration decides the period" in out
    assert "actor.send to generator.receive" in out
    assert "generator.receive (now" in out
