"""Why nothing fits, and fixes that were checked."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from planner.domain.pins import Pins
from planner.errors import InfeasibleError, SpecError
from planner.search import solve

Build = Callable[..., Any]


def error_of(case: Any, **settings: Any) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        solve(*case.arguments, **settings)
    return caught.value


def test_a_role_that_fits_nowhere_is_named_with_its_bytes_and_a_count_that_fits(paper: Build) -> None:
    error = error_of(paper("34b-32", nodes=1))
    assert re.match(
        r"actor: needs \S+ GiB per device at .* on 8 devices, a100-sxm-80gb has \S+ GiB", error.reason
    )
    devices = int(re.match(r"(\d+) of the same devices hold it", error.fix).group(1))
    assert devices % 8 == 0
    assert solve(*paper("34b-32", nodes=devices // 8).arguments).plan.proof.status == "optimal"
    error_of(paper("34b-32", nodes=devices // 8 - 1))


def test_roles_that_fit_one_by_one_only_are_all_named(paper: Build) -> None:
    error = error_of(paper("34b-32", nodes=2))
    assert "actor, critic, reference, reward: need at least" in error.reason
    assert "actor 16, critic 8" in error.reason


@pytest.mark.parametrize("solver", ["cpsat", "exhaustive", "hybridflow"])
def test_every_solver_says_the_same(paper: Build, solver: str) -> None:
    assert str(error_of(paper("34b-32", nodes=1), solver=solver)) == str(error_of(paper("34b-32", nodes=1)))


def test_when_a_pin_is_to_blame_the_fix_is_to_drop_it(paper: Build) -> None:
    pin = Pins.model_validate({"actor.train.data": 8, "critic.devices": 8})
    error = error_of(paper("7b-8", pin=pin))
    assert error.fix == "without the pin actor.train.data: 8 there is a plan"


def test_a_pin_off_the_grid_is_told_the_grid(paper: Build) -> None:
    error = error_of(paper("7b-16", pin=Pins.model_validate({"actor.devices": 5})))
    assert "pins actor.devices: 5" in error.reason
    assert "1, 2, 4, 8, 16 devices" in error.reason


def test_when_apart_is_to_blame_the_fix_is_to_drop_it(synthetic: Build) -> None:
    apart = ("actor", "critic", "reference", "reward")
    error = error_of(synthetic(0, pools=[(1, 2)], bytes_scale=0.3, apart=(apart,)))
    assert error.reason.startswith("the 2 devices cannot hold all roles in any permitted placement")
    assert error.fix == "without apart of actor, critic, reference, reward there is a plan"


def test_when_no_growth_helps_the_fix_says_what_else_may(synthetic: Build) -> None:
    assert "64 times the nodes were tried" in error_of(synthetic(0, bytes_scale=100.0)).fix


@pytest.mark.parametrize(
    ("demands", "words"),
    [
        (
            {"colocate": (("actor", "critic"), ("critic", "reward")), "apart": (("actor", "reward"),)},
            ("colocate", "apart", "actor, critic, reward", "actor and reward"),
        ),
        (
            {"colocate": (("actor", "critic"),), "pin": {"actor.devices": 2, "critic.devices": 4}},
            ("pin actor.devices: 2", "pin critic.devices: 4"),
        ),
    ],
)
def test_contradictory_demands_are_named(
    synthetic: Build, demands: dict[str, Any], words: tuple[str, ...]
) -> None:
    demands = {**demands, "pin": Pins.model_validate(demands.get("pin", {}))}
    error = error_of(synthetic(0, **demands))
    for word in words:
        assert word in error.reason


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        ({"reward.train.tensor": 1}, "reward has no 'train' layout, only infer"),
        ({"critic.generate.tensor": 1}, "critic has no 'generate' layout, only train"),
        ({"critic.node_pool": "b"}, "no node pool 'b' (there are pool0)"),
    ],
)
def test_a_pin_of_what_is_not_there_is_a_wrong_input(
    synthetic: Build, pin: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        solve(*synthetic(0, pin=Pins.model_validate(pin)).arguments)
