"""Questions to one scenario: other placements, layouts, clusters, time models."""

import pytest

from planner.domain.pins import PinKey
from planner.studies.paper.published import COLOCATE, SPLIT, STANDALONE
from planner.studies.paper.questions import (
    best,
    in_time_model,
    paper_scenario,
    placed,
    with_devices,
    with_layouts,
)


@pytest.mark.parametrize(("placement", "shares"), [(COLOCATE, (16,)), (SPLIT, (8, 8))])
def test_a_decided_placement_comes_out_with_its_devices(placement: tuple, shares: tuple[int, ...]) -> None:
    plan = best(placed(paper_scenario("ppo", "7b", 16), placement, shares))
    assert plan is not None
    assert plan.placement == placement
    assert tuple(pool.devices for pool in plan.pools) == shares


def test_a_placement_that_does_not_fit_has_no_plan() -> None:
    assert best(placed(paper_scenario("ppo", "7b", 8), STANDALONE, (4, 1, 1, 1))) is None


def test_a_placement_without_shares_decides_no_devices() -> None:
    before = paper_scenario("ppo", "7b", 16)
    assert placed(before, SPLIT).pin == before.pin


def test_layouts_of_the_paper_are_trained_in() -> None:
    plan = best(with_layouts(paper_scenario("ppo", "7b", 8), 1))
    assert plan is not None
    assert {str(plan.strategies[role].train) for role in ("actor", "critic")} == {"p1t8d1"}


def test_layouts_keep_the_scenarios_own_pins() -> None:
    scenario = with_layouts(paper_scenario("ppo", "34b", 64), 4)
    assert scenario.pin.root[PinKey("actor", "generate", "pipeline")] == 1
    assert scenario.pin.root[PinKey("critic", "train", "pipeline")] == 4


@pytest.mark.parametrize(("devices", "nodes", "each"), [(32, 4, 8), (8, 1, 8), (4, 1, 4)])
def test_fewer_devices_are_fewer_nodes_or_a_part_of_one(devices: int, nodes: int, each: int) -> None:
    (pool,) = with_devices(paper_scenario("ppo", "13b", 64), devices).cluster.node_pools
    assert (pool.nodes, pool.devices_per_node) == (nodes, each)


def test_the_stage_cost_is_asked_for_unless_said_otherwise() -> None:
    scenario = paper_scenario("ppo", "7b", 8)
    assert scenario.time_model == "stage"
    assert in_time_model(scenario, "period").time_model == "period"
