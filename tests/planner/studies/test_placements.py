"""Placements fixed as others fix them."""

from collections.abc import Callable

import pytest

from planner.domain.placement import Placement
from planner.domain.reading import parse_cluster
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError, SpecError
from planner.studies.placements import fixed_placement
from planner.studies.planning import plan

Build = Callable[..., Scenario]

GRPO = {
    "algorithm": "grpo",
    "models": dict.fromkeys(("actor", "reference", "reward"), "llama-3.2-1b"),
    "workload": {
        "prompts": 16,
        "samples_per_prompt": 4,
        "prompt_tokens": 512,
        "response_tokens": 512,
        "mini_batches": 4,
    },
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("colocate", (("actor", "critic", "reference", "reward"),)),
        ("standalone", (("actor",), ("critic",), ("reference",), ("reward",))),
        ("split", (("actor", "reference"), ("critic", "reward"))),
    ],
)
def test_ppo_is_placed_as_named(tiny: Build, name: str, expected: Placement) -> None:
    found = plan(fixed_placement(tiny(), name)).plan
    assert found.placement == expected
    if name == "split":
        assert [pool.devices for pool in found.pools] == [2, 2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("colocate", {("actor", "reference", "reward")}),
        ("standalone", {("actor",), ("reference",), ("reward",)}),
        ("split", {("actor", "reference"), ("reward",)}),
    ],
)
def test_roles_are_those_of_the_algorithm(tiny: Build, name: str, expected: set[tuple[str, ...]]) -> None:
    assert set(plan(fixed_placement(tiny(**GRPO), name)).plan.placement) == expected


def test_no_fixed_placement_beats_the_free_one(tiny: Build) -> None:
    best = plan(tiny()).plan.proof.objective
    for name in ("colocate", "standalone", "split"):
        assert plan(fixed_placement(tiny(), name)).plan.proof.objective >= best


def test_halves_lie_in_different_node_pools_where_one_has_no_room_for_both(tiny: Build) -> None:
    pools = [{**parse_cluster("1x1xa100-sxm-80gb")["node_pools"][0], "name": name} for name in "ab"]
    scenario = tiny(cluster={"node_pools": pools})
    found = plan(fixed_placement(scenario, "split")).plan
    assert sorted(pool.node_pool for pool in found.pools) == ["a", "b"]


def test_one_device_has_no_halves(tiny: Build) -> None:
    with pytest.raises(InfeasibleError, match="no two equal halves"):
        fixed_placement(tiny(cluster="1x1xa100-sxm-80gb"), "split")


def test_a_split_needs_roles_for_both_halves(tiny: Build) -> None:
    service = {"reward": {"seconds_per_sample": "1 ms"}}
    models = dict.fromkeys(("actor", "reference"), "llama-3.2-1b")
    with pytest.raises(SpecError, match="other roles in the other"):
        fixed_placement(tiny(**{**GRPO, "models": models, "services": service}), "split")
