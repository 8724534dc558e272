"""Which key goes where in a picture, and on what scale."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.reporting.sweeps.axes import Axes, axes_of, numbers_of, scale_of, short_names


def test_the_numeric_key_of_most_values_lies_along_x_and_others_follow_by_their_number() -> None:
    values = {"algorithm": ["a", "b", "c", "d", "e"], "epochs": [1, 2], "nodes": [1, 2, 4]}
    assert axes_of(values) == Axes(x="nodes", colour="algorithm", style="epochs")
    assert axes_of(values, x="epochs") == Axes(x="epochs", colour="algorithm", style="nodes")


def test_a_key_without_numbers_lies_along_x_where_there_is_no_other() -> None:
    assert axes_of({"algorithm": ["ppo", "grpo"]}) == Axes(x="algorithm")


def test_a_key_of_too_many_values_for_styles_gets_panels() -> None:
    ten = list(range(10))
    assert axes_of({"a": list(range(11)), "b": ten, "c": ten}) == Axes(x="a", colour="b", panel="c")
    assert axes_of({"a": ten, "b": ten, "c": [1, 2, 3], "d": [1, 2]}) == Axes(
        x="a", colour="b", style="c", panel="d"
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no key has more than one value"),
        ({key: [1, 2] for key in "abcde"}, "no more keys"),
        ({"a": list(range(40)), "b": list(range(30))}, "b has 30 values"),
    ],
)
def test_what_cannot_be_drawn_is_said(values: dict[str, list[Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        axes_of(values)


@given(st.integers(1, 5), st.integers(2, 10), st.integers(4, 8))
def test_what_grows_by_factors_gets_a_logarithmic_scale(first: int, factor: int, count: int) -> None:
    values = [first * factor**power for power in range(count)]
    assert scale_of(values).is_logarithmic is (factor ** (count - 1) >= 10)


@given(st.integers(1, 100), st.integers(1, 100), st.integers(2, 30))
def test_what_grows_by_equal_steps_does_not(first: int, step: int, count: int) -> None:
    scale = scale_of([first + step * number for number in range(count)])
    assert not scale.is_logarithmic
    assert scale.is_numeric


def test_quantities_are_numbers_of_their_unit() -> None:
    scale = scale_of(["100 Gbit/s", "200 Gbit/s", "400 Gbit/s"])
    assert (scale.places, scale.unit) == ((100.0, 200.0, 400.0), "Gbit/s")
    assert numbers_of(["1 GB/s", "1 GiB/s"]) is None
    assert numbers_of([True, False]) is None
    assert numbers_of([{"mean": 1}, {"mean": 2}]) is None


def test_short_names_tell_keys_apart() -> None:
    keys = ["workload.prompt_tokens.mean", "workload.response_tokens.mean", "workload.epochs"]
    assert short_names(keys) == {
        "workload.prompt_tokens.mean": "prompt_tokens.mean",
        "workload.response_tokens.mean": "response_tokens.mean",
        "workload.epochs": "epochs",
    }
    assert short_names(["mean", "workload.mean"]) == {"mean": "mean", "workload.mean": "workload.mean"}
