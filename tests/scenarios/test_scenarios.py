"""Shipped scenarios: all can be asked, all are in the index, and the template shows every key."""

import re
from pathlib import Path

import pytest
import yaml

from planner.algorithms import dataflow_of
from planner.domain.cluster import Cluster, NodePool
from planner.domain.contradictions import check_roles
from planner.domain.reading import parse_scenario, read_scenario, scenario_files
from planner.domain.run import RewardFunctionSettings, RunSettings
from planner.domain.scenario import Scenario, Service
from planner.domain.workload import Workload

FOLDER = Path(__file__).parents[2] / "scenarios"


@pytest.mark.parametrize("path", list(scenario_files()), ids=str)
def test_every_role_of_a_shipped_scenario_has_a_model_or_a_service(path: Path) -> None:
    scenario = read_scenario(path)
    check_roles(scenario, dataflow_of(scenario), where=str(path))
    assert scenario.name == path.stem or path.stem == "template"


@pytest.mark.parametrize(
    "path",
    [path for folder in ("examples", "hypothetical") for path in sorted((FOLDER / folder).glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_every_example_and_hypothetical_cluster_is_in_the_index(path: Path) -> None:
    assert f"| `{path.parent.name}/{path.name}` |" in (FOLDER / "README.md").read_text()


@pytest.mark.parametrize(
    "value", [Scenario, Cluster, NodePool, Workload, Service, RunSettings, RewardFunctionSettings]
)
def test_the_template_shows_every_key(value: type) -> None:
    text = (FOLDER / "template.yaml").read_text()
    known = set(re.findall(r"([a-z_]+):", text))
    assert set(value.model_fields) <= known


def test_what_the_template_comments_out_can_be_asked_as_it_stands() -> None:
    text = (FOLDER / "template.yaml").read_text()
    keys = "stack|rails|oversubscription|host_memory|price|between|within|staleness|maximum_devices|pin|apart"
    text = re.sub(rf"(?m)^( *)# ({keys}):", r"\1\2:", text)
    text = re.sub(r"(?m)^#   (\w+\.[\w.]+:)", r"  \1", text)
    scenario = parse_scenario(yaml.safe_load(text), where="template", relative_to=FOLDER)
    assert scenario.staleness == 1
    assert len(scenario.pin.root) == 6 + 7
    assert scenario.apart == (("actor", "critic"),)
