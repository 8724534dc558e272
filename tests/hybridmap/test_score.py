"""``hybridmap plan --score`` and ``hybridmap plan PLAN``: choices made by hand."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybridmap.__main__ import main
from planner.domain.reading import read_plan
from planner.search.certify.fixes import FIXES

CHOICE: dict[str, Any] = {
    "pools": [
        {"devices": 2, "roles": ["actor", "reference"]},
        {"devices": 2, "roles": ["critic", "reward"]},
    ],
    "strategies": {
        "actor": {
            "train": "p1t2d1",
            "generate": {"tensor": 1, "replicas": 2, "max_sequences": 16},
            "micro_batch": 2,
            "recompute": "full",
        },
        "critic": {"train": {"data": 2}, "micro_batch": 2, "recompute": "full"},
        "reference": {"infer": "p1t1d2", "micro_batch": 2},
        "reward": {"infer": "p1t1d2", "micro_batch": 2},
    },
}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    value = {
        "name": "hand",
        "algorithm": "ppo",
        "models": dict.fromkeys(("actor", "critic", "reference", "reward"), "llama-3.2-1b"),
        "cluster": "1x4xa100-sxm-80gb",
        "workload": {"prompts": 64, "prompt_tokens": 512, "response_tokens": 512, "mini_batches": 4},
    }
    return written(tmp_path / "scenario.yaml", value)


def written(path: Path, value: Any) -> Path:
    path.write_text(yaml.safe_dump(value) if path.suffix == ".yaml" else json.dumps(value))
    return path


def changed(**keys: Any) -> dict[str, Any]:
    """The choice with some fields of its strategies changed (``actor={...}``), or whole keys."""
    strategies = {role: {**strategy, **keys.pop(role, {})} for role, strategy in CHOICE["strategies"].items()}
    return {**CHOICE, "strategies": strategies, **keys}


def answer_of(arguments: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_choice_by_hand_is_costed_and_held_against_the_optimum(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = written(tmp_path / "choice.yaml", CHOICE)
    answer = answer_of(["plan", str(scenario), "--score", str(choice)], capsys)
    assert [pool["roles"] for pool in answer["pools"]] == [["actor", "reference"], ["critic", "reward"]]
    optimum = answer["optimum"]["objective"]
    assert answer["bound"] == optimum
    assert answer["objective"] >= optimum
    assert answer["against_optimum"]["amount"] == pytest.approx(answer["objective"] - optimum)
    assert answer["against_optimum"]["proven"] is True
    assert answer["strategies"]["actor"]["train"]["tensor"] == 2


def test_a_choice_may_carry_its_scenario(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = written(tmp_path / "choice.json", {**CHOICE, "scenario": scenario.name})
    answer = answer_of(["plan", str(choice)], capsys)
    assert answer["against_optimum"]["amount"] >= 0


def test_the_documents_example_is_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    path = tmp_path / "choice.yaml"
    blocks = [textwrap.dedent(block.split("```")[0]) for block in text.split("```yaml\n")[1:]]
    path.write_text(next(block for block in blocks if block.startswith("pools:")))
    described = ["--model", "qwen2.5-7b", "--cluster", "2x8xh100-sxm-80gb", "--solver", "hybridflow"]
    answer = answer_of(["plan", *described, "--score", str(path)], capsys)
    assert [pool["devices"] for pool in answer["pools"]] == [8, 4]


def test_the_optimum_scores_as_the_optimum(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, again = tmp_path / "best.json", tmp_path / "again.json"
    assert main(["plan", str(scenario), "--out", str(best)]) == 0
    capsys.readouterr()
    answer = answer_of(["plan", str(best), "--out", str(again)], capsys)
    assert answer["status"] == "optimal"
    assert answer["against_optimum"]["amount"] == 0
    one, other = read_plan(best), read_plan(again)
    assert (one.pools, one.strategies, one.prediction) == (other.pools, other.strategies, other.prediction)


@pytest.fixture
def odd(scenario: Path, tmp_path: Path) -> list[str]:
    """A scenario of 36 samples, of which 9 are a quarter and no power of two is."""
    return [str(scenario), "--set", "workload.prompts=36", "--set", "workload.mini_batches=1"]


def best_with(micro_batch: int, arguments: list[str], path: Path) -> Path:
    """The best plan's pools and strategies, with another micro-batch of the critic."""
    assert main(["plan", *arguments, "--out", str(path)]) == 0
    best = json.loads(path.read_text())
    best["strategies"]["critic"]["micro_batch"] = micro_batch
    return written(path, {"pools": best["pools"], "strategies": best["strategies"]})


def test_a_plan_better_than_all_that_is_listed_is_no_optimum(
    odd: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice, out = best_with(9, odd, tmp_path / "choice.json"), tmp_path / "out.json"
    capsys.readouterr()
    answer = answer_of(["plan", *odd, "--score", str(choice), "--out", str(out)], capsys)
    assert answer["status"] == "feasible"
    assert answer["bound"] < answer["objective"] < answer["optimum"]["objective"]
    assert answer["against_optimum"]["outside"] is True
    assert "lies outside of what the search lists" in answer["against_optimum"]["words"]
    assert main(["explain", str(out)]) == 0
    capsys.readouterr()
    assert main(["plan", *odd, "--score", str(choice)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "lies outside of what the search lists" in words
    assert "against the best listed the plan gains" in words
    assert "optimum" not in words


def test_what_is_not_proven_is_not_called_the_optimum(
    odd: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = best_with(2, odd, tmp_path / "choice.json")
    for solver, head in (("hybridflow", "best found"), ("cpsat", "optimum")):
        capsys.readouterr()
        assert main(["plan", *odd, "--solver", solver, "--score", str(choice)]) == 0
        words = " ".join(capsys.readouterr().out.split())
        assert f"against the {head} the plan" in words
        assert ("optimum" in words) is (head == "optimum")
        assert f"its bound is what {solver} proved for all plans that the search lists" in words


@pytest.mark.parametrize("minimise", ["seconds", "tokens", "devices"])
def test_a_choice_is_scored_whatever_is_minimised(
    minimise: str, scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice, best = written(tmp_path / "choice.json", CHOICE), tmp_path / "best.json"
    asked = ["plan", str(scenario), "--minimise", minimise, "--within", "60"]
    assert answer_of([*asked, "--score", str(choice)], capsys)["against_optimum"]["amount"] > 0
    assert main([*asked, "--out", str(best)]) == 0
    capsys.readouterr()
    assert answer_of(["plan", str(best)], capsys)["status"] == "optimal"


PROGRAM = ["actor.generate", "reference.logprobs", "actor.update"]


def ordered(actor: list[str]) -> dict[str, Any]:
    """The choice with an order for each pool."""
    one, other = CHOICE["pools"]
    critic = ["critic.values", "reward.scores", "critic.update"]
    return {**CHOICE, "pools": [{**one, "order": actor}, {**other, "order": critic}]}


def test_given_orders_are_costed_as_they_are(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = written(tmp_path / "free.json", CHOICE)
    given = written(tmp_path / "given.json", ordered(PROGRAM))
    best = answer_of(["plan", str(scenario), "--score", str(free)], capsys)
    answer = answer_of(["plan", str(scenario), "--score", str(given)], capsys)
    assert answer["pools"][0]["order"] == PROGRAM
    assert answer["objective"] >= best["objective"]
    assert answer["stage_cost_seconds"] == best["stage_cost_seconds"]


@pytest.mark.parametrize(
    "order",
    [PROGRAM[:2], [*PROGRAM, "critic.update"], ["actor.update", "actor.generate", "reference.logprobs"]],
)
def test_an_order_that_cannot_be_run_is_a_broken_rule(
    order: list[str], scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "choice.json", ordered(order))
    answer = answer_of(["plan", str(scenario), "--score", str(path)], capsys, code=3)
    assert {each["rule"] for each in answer["violations"]} == {"order"}


def test_pins_for_every_role_are_a_choice(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pins = ["--set", "pin.actor.train.tensor=4", "--set", "pin.critic.train.tensor=4"]
    answer = answer_of(["plan", str(scenario), *pins, "--score"], capsys)
    assert answer["against_optimum"]["amount"] > 0
    assert answer["strategies"]["critic"]["train"]["tensor"] == 4


def test_a_fixed_placement_is_a_choice(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_of(["plan", str(scenario), "--placement", "standalone", "--score"], capsys)
    assert len(answer["pools"]) == 4
    assert answer["against_optimum"]["amount"] >= 0


@pytest.mark.parametrize(
    ("choice", "rule"),
    [
        (changed(pools=[{"devices": 4, "roles": ["actor", "critic", "reference"]}]), "partition"),
        (changed(pools=[{**pool, "devices": 3} for pool in CHOICE["pools"]]), "devices"),
        (changed(actor={"train": "p1t1d1"}), "layout"),
        (changed(critic={"train": {"tensor": 2}, "infer": {"tensor": 2}}), "phases"),
        (
            changed(
                actor={
                    "generate": {"tensor": 1, "replicas": 2, "max_sequences": 2048},
                    "micro_batch": 16,
                    "recompute": "none",
                }
            ),
            "memory",
        ),
    ],
)
def test_broken_rules_are_listed_with_exit_code_3(
    choice: dict[str, Any], rule: str, scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "choice.json", choice)
    tight = ["--set", "cluster=1x4xa100-sxm-40gb", "--set", "workload.prompts=4096"]
    arguments = ["plan", str(scenario), *(tight if rule == "memory" else []), "--score", str(path)]
    answer = answer_of(arguments, capsys, code=3)
    assert answer["status"] == "infeasible"
    assert rule in {each["rule"] for each in answer["violations"]}
    assert FIXES[rule] in answer["fix"]
    assert all(each["message"] for each in answer["violations"])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "pools: missing"),
        ({**CHOICE, "pols": []}, "did you mean 'pools'"),
        (changed(actor={"train": "t8"}), "strategies.actor.train"),
        (changed(actor={"generate": {"tensor": 1}}), "strategies.actor.generate.max_sequences: missing"),
        (changed(actor={"micro_bach": 1}), "did you mean 'micro_batch'"),
        ([1, 2], "expected a mapping"),
        (
            {**CHOICE, "pools": [CHOICE["pools"][0], {**CHOICE["pools"][1], "order": ["critic.values"]}]},
            "the pool of actor, reference has no order",
        ),
    ],
)
def test_a_choice_that_cannot_be_read_is_exit_code_2(
    choice: Any, expected: str, scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "choice.json", choice)
    answer = answer_of(["plan", str(scenario), "--score", str(path)], capsys, code=2)
    assert expected in answer["reason"]
    assert str(path) in answer["reason"]


def test_what_a_score_lacks_is_said(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "choice.json", CHOICE)
    assert "scenario: missing" in answer_of(["plan", str(path)], capsys, code=2)["reason"]
    assert "there are none" in answer_of(["plan", str(scenario), "--score"], capsys, code=2)["reason"]
    answer = answer_of(["plan", str(path), "--minimise", "devices"], capsys, code=2)
    assert "--minimise changes a scenario" in answer["reason"]
