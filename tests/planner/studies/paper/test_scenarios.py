"""The paper's scenarios say what its section 8.1 says."""

from pathlib import Path

import pytest

from planner.domain.pins import PinKey
from planner.domain.reading import read_scenario, scenario_files
from planner.studies.paper.published import MINIMA, PLACEMENTS
from planner.studies.paper.questions import paper_scenario
from planner.studies.planning import dataflow
from planner.units import parse_bytes_per_s

FILES = [path for path in scenario_files() if "paper" in path.parts]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_is_the_evaluations_setting(path: Path) -> None:
    scenario = read_scenario(path)
    (pool,) = scenario.cluster.node_pools
    algorithm, size, devices = path.stem.rsplit("-", 2)
    work = scenario.workload
    assert (scenario.name, scenario.cluster.devices) == (path.stem, int(devices))
    assert scenario.algorithm.name == algorithm.replace("-", "_")
    assert (work.prompts, work.prompt_tokens.mean, work.response_tokens.mean) == (1024, 1024, 1024)
    assert (work.epochs, work.mini_batches) == (1, 8)
    assert (pool.devices_per_node, pool.network.bandwidth) == (8, parse_bytes_per_s("200 Gbit/s"))
    assert {size in model.name for model in scenario.models.values()} == {True}
    assert (scenario.stack.training.name, scenario.stack.generation.name) == (
        "megatron-core-0.6",
        "vllm-0.3.1-spmd",
    )
    assert scenario.time_model == "stage"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_offloaded_and_generation_has_no_stages(path: Path) -> None:
    scenario = read_scenario(path)
    pins = scenario.pin.root
    assert {pins[PinKey(role, "", "offload")] for role in dataflow(scenario).roles} == {"none"}
    assert pins[PinKey("actor", "generate", "pipeline")] == 1


def test_every_published_point_has_a_scenario() -> None:
    for algorithm, sizes in MINIMA.items():
        for size, devices in sizes.items():
            assert paper_scenario(algorithm, size, devices).cluster.devices == devices
    for size, devices in PLACEMENTS:
        assert paper_scenario("ppo", size, devices).cluster.devices == devices
