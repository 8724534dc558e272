"""What differs between two plans."""

from collections.abc import Callable

from planner.domain.scenario import Scenario
from planner.studies.differences import differences
from planner.studies.planning import plan

Build = Callable[..., Scenario]


def test_a_plan_does_not_differ_from_itself(tiny: Build) -> None:
    best = plan(tiny()).plan
    found = differences(best, best)
    assert found.is_empty
    assert not any(
        (found.scenario, found.placement, found.strategies, found.seconds, found.memory, found.proof)
    )


def test_every_kind_of_difference_is_found(tiny: Build) -> None:
    one = plan(tiny(colocate=[["actor", "critic"]])).plan
    other = plan(tiny(apart=[["actor", "critic"]], pin={"actor.train.tensor": 1, "actor.devices": 2})).plan
    found = differences(one, other)
    assert found.scenario["pin.actor.devices"] == (None, 2)
    assert found.placement["pools"][0] != found.placement["pools"][1]
    assert found.placement["actor.devices"] == (one.pool_of("actor").devices, 2)
    assert found.seconds["iteration"] == (
        one.prediction.iteration_seconds,
        other.prediction.iteration_seconds,
    )
    assert found.memory
    assert "objective" in found.proof


def test_differences_read_the_same_from_the_other_side(tiny: Build) -> None:
    one, other = plan(tiny()).plan, plan(tiny(pin={"actor.train.tensor": 4})).plan
    forth, back = differences(one, other), differences(other, one)
    assert forth.strategies
    assert {key: pair[::-1] for key, pair in forth.strategies.items()} == dict(back.strategies)
