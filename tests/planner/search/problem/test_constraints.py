"""Demands that no plan can meet, whatever it costs."""

from typing import Any

import pytest

from planner.algorithms import asynchronous
from planner.domain.pins import Pins
from planner.errors import InfeasibleError
from planner.search.problem.constraints import pinned_devices, refuse_contradictions
from tests.planner.search.toys import PPO, small_scenario


def refusal(pins: dict[str, Any], **demands: Any) -> InfeasibleError:
    scenario = small_scenario(PPO, pools=[(2, 4)]).model_copy(
        update={"pin": Pins.model_validate(pins), **demands}
    )
    with pytest.raises(InfeasibleError) as caught:
        refuse_contradictions(scenario, PPO)
    return caught.value


def test_a_layout_and_a_number_of_devices_must_agree() -> None:
    error = refusal({"actor.devices": 8, "actor.train": "p1t2d2"})
    assert error.reason == (
        "actor: its pins ask for different numbers of devices: pin actor.devices: 8 (8 devices), "
        "pin actor.train: pipeline 1 x tensor 2 x data 2 x context 1 (4 devices)"
    )
    assert error.fix == "drop one of these pins"


def test_a_pinned_pool_must_not_be_larger_than_any_may_be() -> None:
    error = refusal({"critic.devices": 8}, maximum_devices=4)
    assert error.reason == (
        "critic: pin critic.devices: 8 asks for 8 devices, but maximum_devices lets no pool have more than 4"
    )
    assert error.fix == "set maximum_devices: 8, or drop the pin"


def test_colocated_roles_must_not_be_pinned_to_layouts_of_different_sizes() -> None:
    pins = {"actor.train": "p1t2d2", "reward.devices": 8}
    error = refusal(pins, colocate=(("actor", "reward"),))
    assert "colocate puts actor, reward into one pool, but their pins differ" in error.reason


def test_a_generator_shares_no_pool_with_its_actor() -> None:
    groups = (("actor", "reward"), ("generator", "reward"))
    scenario = small_scenario(PPO).model_copy(update={"staleness": 1, "colocate": groups})
    with pytest.raises(InfeasibleError, match="a generator runs ahead of its actor on devices of its own"):
        refuse_contradictions(scenario, asynchronous(PPO, 1))


def test_sizes_count_only_when_all_are_pinned() -> None:
    pins = Pins.model_validate(
        {
            "actor.train.tensor": 2,
            "actor.generate.pipeline": 1,
            "actor.generate.tensor": 2,
            "actor.generate.replicas": 3,
        }
    )
    scenario = small_scenario(PPO).model_copy(update={"pin": pins})
    assert list(pinned_devices(scenario, "actor").values()) == [6]
