import pytest
from pydantic import ValidationError

from planner.domain.pins import Pins, unfolded
from planner.errors import InfeasibleError


def test_a_layout_stands_for_all_its_sizes() -> None:
    pins = Pins.model_validate({"actor.train": "p1t2d4"})
    assert pins.model_dump() == {
        "actor.train.context": 1,
        "actor.train.data": 4,
        "actor.train.expert": 1,
        "actor.train.pipeline": 1,
        "actor.train.tensor": 2,
        "actor.train.virtual": 1,
    }
    assert [pins.value("actor", "train", field) for field in ("pipeline", "tensor")] == [1, 2]
    assert pins.value("critic", "train", "tensor") is None


def test_how_the_actor_generates_is_how_its_generator_does() -> None:
    pins = Pins.model_validate({"actor.generate.tensor": 2, "actor.generate.pipeline": 1})
    own = Pins.model_validate({"actor.generate.tensor": 2, "generator.generate.tensor": 4})
    assert [pins.value("generator", "generate", field) for field in ("tensor", "pipeline")] == [2, 1]
    assert own.value("generator", "generate", "tensor") == 4
    assert pins.value("generator", "", "devices") is None


def test_pins_survive_a_file() -> None:
    pins = Pins.model_validate({"actor.generate.tensor": 2, "critic.devices": 8, "actor.recompute": "full"})
    assert Pins.model_validate(pins.model_dump()) == pins


@pytest.mark.parametrize(
    "pin",
    [
        {"actor.train.tensor": 0},
        {"actor.train.tensor": "4"},
        {"actor.devices": True},
        {"actor": 4},
        {"a.b.c.d": 4},
        {"actor.train": "p1t2x4"},
        {"actor.offload": 1},
    ],
)
def test_what_is_not_a_pin_is_refused(pin: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Pins.model_validate(pin)


def test_fields_agree_with_pins_that_are_free_or_equal() -> None:
    pins = Pins.model_validate({"actor.train.tensor": 2, "actor.generate.tensor": 4})
    assert pins.allow("actor", "train", tensor=2, data=8)
    assert not pins.allow("actor", "train", tensor=4)
    assert pins.allow("generator", "generate", tensor=4)
    assert not pins.allow("generator", "generate", tensor=2)


def test_two_values_of_one_field_contradict_each_other() -> None:
    with pytest.raises(InfeasibleError) as caught:
        Pins.model_validate({"actor.train": "p1t2d4", "actor.train.tensor": 4})
    assert caught.value.reason == (
        "pin actor.train: p1t2d4 and pin actor.train.tensor: 4 contradict each other: actor.train.tensor "
        "cannot be both 2 and 4"
    )


def test_a_value_given_twice_is_one_pin() -> None:
    pins = Pins.model_validate({"actor.train": "p1t2d4", "actor.train.tensor": 2})
    assert pins == Pins.model_validate({"actor.train": "p1t2d4"})


def test_a_whole_layout_is_one_demand() -> None:
    pins = Pins.model_validate({"actor.devices": 8, "actor.train": "p1t2d4", "critic.train.tensor": 2})
    demands = dict(pins.demands())
    assert list(demands) == ["actor.devices: 8", "actor.train: p1t2d4", "critic.train.tensor: 2"]
    assert frozenset().union(*demands.values()) == set(pins.root)


def test_what_is_no_pin_stays_as_it_is_written() -> None:
    assert unfolded({"actor.train": "t2", "actor.devices": 8}) == {"actor.train": "t2", "actor.devices": 8}
