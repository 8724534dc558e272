"""Placements fixed as others fix them."""

from collections.abc import Callable

import pytest

from planner.domain.placement import Placement
from planner.domain.reading import parse_cluster
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError, SpecError
from planner.studies.placements import fixed_placement, placement_refusal
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
    with pytest.raises(InfeasibleError, match=r"1 device of .* cannot be two equal halves"):
        fixed_placement(tiny(cluster="1x1xa100-sxm-80gb"), "split")


def test_a_split_needs_roles_for_both_halves(tiny: Build) -> None:
    service = {"reward": {"seconds_per_sample": "1 ms"}}
    models = dict.fromkeys(("actor", "reference"), "llama-3.2-1b")
    with pytest.raises(SpecError, match="other roles in the other"):
        fixed_placement(tiny(**{**GRPO, "models": models, "services": service}), "split")


def refusal(scenario: Scenario, name: str) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        plan(fixed_placement(scenario, name))
    return placement_refusal(caught.value, scenario, name)


def test_a_refusal_speaks_of_the_placement_and_not_of_demands_that_it_stands_for(tiny: Build) -> None:
    models = dict.fromkeys(("actor", "critic", "reference", "reward"), "qwen2.5-7b")
    workload = {"prompts": 1024, "prompt_tokens": 1024, "response_tokens": 1024, "mini_batches": 8}
    error = refusal(tiny(models=models, workload=workload, cluster="1x3xh100-sxm-80gb"), "split")
    assert error.reason.startswith("--placement split (two pools of 1 device each): actor: needs")
    words = [fix.words for fix in error.fixes]
    assert words[:2] == [
        "without --placement split there is a plan",
        "4 of the same devices are enough (in one node)",
    ]
    assert error.fix == words[0]
    assert not any("pin" in text or "apart" in text for text in (error.reason, *words))


def test_a_users_own_demands_stay_in_a_refusal(tiny: Build) -> None:
    error = refusal(tiny(pin={"actor.train.tensor": 4}, cluster="1x4xa100-sxm-80gb"), "split")
    assert "under the pins actor.train.tensor: 4" in error.reason
    assert "without the pin actor.train.tensor: 4 there is a plan" in [fix.words for fix in error.fixes]


def test_a_pin_of_other_halves_contradicts_a_split(tiny: Build) -> None:
    with pytest.raises(InfeasibleError, match=r"pin actor\.devices: 1 and --placement split, of 2 devices"):
        fixed_placement(tiny(pin={"actor.devices": 1}), "split")
