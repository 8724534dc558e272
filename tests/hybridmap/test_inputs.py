"""Scenarios that the command line describes, or holds against the runtime."""

import argparse
from pathlib import Path

import pytest

from hybridmap.demands import add_demands
from hybridmap.inputs import add_scenario, is_plan, refuse_settings, runnable_scenario, scenario_of
from planner.algorithms import ALGORITHMS, dataflow_of
from planner.domain.capabilities import RUNTIME
from planner.domain.contradictions import check_roles
from planner.errors import SpecError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_scenario(parser)
    add_demands(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_can_be_asked_for_without_a_file(algorithm: str) -> None:
    words = ("--model", "qwen2.5-7b", "--cluster", "4x8xh100", "--algorithm", algorithm)
    scenario = scenario_of(parsed(*words))
    check_roles(scenario, dataflow_of(scenario), where="command line")
    assert scenario.algorithm.name == algorithm
    assert scenario.workload.samples == 1024


def test_the_examples_can_be_changed_key_by_key() -> None:
    words = ("scenarios/examples/grpo-7b.yaml", "--set", "staleness=2", "--set", "pin.generator.devices=8")
    scenario = scenario_of(parsed(*words))
    assert (scenario.staleness, len(scenario.pin.root)) == (2, 1)


def test_a_run_asks_for_what_the_runtime_can_do() -> None:
    scenario = runnable_scenario(parsed("scenarios/quickstart.yaml"))
    assert scenario.capabilities == RUNTIME
    with pytest.raises(SpecError, match=r"quickstart\.yaml: rollouts\.balance: 'queue' is not run yet"):
        runnable_scenario(parsed("scenarios/quickstart.yaml", "--set", "rollouts.balance=queue"))


def test_a_scenario_without_what_a_run_needs_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(SpecError, match=r"dapo-7b\.yaml: run: missing"):
        runnable_scenario(parsed("scenarios/examples/dapo-7b.yaml"))


@pytest.mark.parametrize("option", [("--algorithm", "grpo"), ("--model", "m"), ("--cluster", "c")])
def test_what_describes_a_scenario_is_refused_beside_a_file(option: tuple[str, str]) -> None:
    with pytest.raises(SpecError, match=f"either a scenario file or {option[0]}, not both"):
        scenario_of(parsed("scenarios/quickstart.yaml", *option))
    with pytest.raises(SpecError, match=f"{option[0]} changes a scenario"):
        refuse_settings(parsed("plan.json", *option))


def test_the_runtimes_capabilities_can_be_changed_beside_runnable() -> None:
    scenario = scenario_of(
        parsed("scenarios/quickstart.yaml", "--set", "capabilities.offload=true", "--runnable")
    )
    assert scenario.capabilities == RUNTIME.model_copy(update={"offload": True})
    with pytest.raises(SpecError, match=r"--runnable and --set capabilities=.* contradict each other"):
        scenario_of(parsed("scenarios/quickstart.yaml", "--set", "capabilities=null", "--runnable"))


def test_a_mistake_of_the_roles_names_the_file() -> None:
    words = ("scenarios/quickstart.yaml", "--set", "pin.reward.train.tensor=1")
    with pytest.raises(SpecError, match=r"^scenarios/quickstart\.yaml: pin\.reward\.train\.tensor: "):
        scenario_of(parsed(*words))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("plan.json", "", True),
        ("plan", '{"pools": [], "strategies": {}}', True),
        ("plan", "[1]", False),
        ("scenario", '{"name": "x"}', False),
        ("scenario", "{name: x, pools: 1, strategies: 2}", False),
        ("scenario.yaml", "name: x", False),
    ],
)
def test_a_plan_is_known_by_its_name_or_by_what_is_in_it(
    tmp_path: Path, name: str, text: str, expected: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert is_plan(tmp_path / name) is expected


def test_an_unknown_model_is_one_mistake() -> None:
    with pytest.raises(SpecError) as caught:
        scenario_of(parsed("--model", "nothing", "--cluster", "1x8xh100"))
    (line,) = str(caught.value).splitlines()
    assert line.startswith("command line: --model: no model 'nothing'")
