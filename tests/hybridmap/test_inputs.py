"""Scenarios that the command line describes, or holds against the runtime."""

import argparse

import pytest

from hybridmap.inputs import add_scenario, runnable_scenario, scenario_of
from planner.algorithms import ALGORITHMS, dataflow_of
from planner.domain.capabilities import RUNTIME
from planner.domain.contradictions import check_roles
from planner.errors import SpecError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_scenario(parser)
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
    with pytest.raises(SpecError, match=r"quickstart\.yaml: staleness: 1 is not run yet"):
        runnable_scenario(parsed("scenarios/quickstart.yaml", "--set", "staleness=1"))


def test_a_run_of_another_algorithm_is_refused_before_anything_is_measured() -> None:
    words = ("scenarios/examples/dapo-7b.yaml",)
    with pytest.raises(SpecError) as caught:
        runnable_scenario(parsed(*words))
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["algorithm", "services", "workload.resampling"]
