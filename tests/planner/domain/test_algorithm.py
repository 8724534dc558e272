"""Options of algorithms: what contradicts itself is said, with what to try."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from planner.domain.algorithm import (
    AlgorithmOptions,
    Correction,
    DapoOptions,
    Divergence,
    GrpoOptions,
    GspoOptions,
    Options,
    PpoOptions,
    ReinforcePlusPlusOptions,
    Rejection,
    least_group,
)
from planner.domain.quantities import Value

OPTIONS: TypeAdapter[Any] = TypeAdapter(AlgorithmOptions)
NAMES = ["ppo", "remax", "safe_rlhf", "grpo", "dr_grpo", "rloo", "reinforce_plus_plus", "dapo", "gspo"]


def message_of(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        OPTIONS.validate_python(keys)
    (mistake,) = caught.value.errors()
    return str(mistake["msg"])


@pytest.mark.parametrize("name", NAMES)
def test_options_are_read_back_as_they_were_written(name: str) -> None:
    rejection = {"measure": "token_k1", "upper": 2.0}
    given = OPTIONS.validate_python({"name": name, "correction": {"kind": "mask", "reject": [rejection]}})
    assert given.name == name
    assert OPTIONS.validate_json(given.model_dump_json()) == given


@pytest.mark.parametrize("name", NAMES)
def test_no_algorithm_corrects_anything_unless_it_is_asked_to(name: str) -> None:
    options = OPTIONS.validate_python({"name": name})
    assert (options.correction, options.dual_clip, options.kl_target) == (None, None, None)


def test_algorithms_that_compare_samples_need_two() -> None:
    assert {name: least_group(name) for name in NAMES} == {
        "ppo": 1,
        "remax": 1,
        "safe_rlhf": 1,
        "grpo": 2,
        "dr_grpo": 2,
        "rloo": 2,
        "reinforce_plus_plus": 1,
        "dapo": 2,
        "gspo": 2,
    }
    assert ReinforcePlusPlusOptions(group_baseline=True).least_group == 2


def test_bounds_of_the_ratio_fall_back_on_clip() -> None:
    assert PpoOptions().clip_bounds == (0.2, 0.2)
    assert PpoOptions(clip=0.1, clip_low=0.05).clip_bounds == (0.05, 0.1)
    assert DapoOptions().clip_bounds == (0.2, 0.28)
    assert GspoOptions().clip_bounds == (3e-4, 4e-4)


def test_divergence_is_charged_once() -> None:
    message = message_of(name="ppo", kl_loss_coefficient=0.1)
    assert "kl_coefficient (0.05, in the reward) and kl_loss_coefficient (0.1, in the loss)" in message
    assert message.endswith("set one to 0")
    assert PpoOptions(kl_coefficient=0, kl_loss_coefficient=0.1, kl_estimator="k3").has_divergence
    assert GrpoOptions().has_divergence
    assert not GspoOptions().has_divergence


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"name": "ppo", "kl_estimator": "k3+"}, "a reward has no gradient, so k3+ is k3 there; write k3"),
        (
            {"name": "ppo", "kl_coefficient": 0, "kl_loss_coefficient": 0.1},
            "the gradient of k1 does not depend on the reference",
        ),
        ({"name": "grpo", "kl_target": 0.1}, "which is 0; give kl_coefficient to start from"),
        (
            {"name": "safe_rlhf", "multiplier": 9.0},
            "multiplier (9) exceeds multiplier_maximum (5); start lower",
        ),
        ({"name": "gspo", "aggregation": "token-mean"}, "Input should be 'seq-mean-token-mean'"),
        ({"name": "ppo", "correction": {"lower": 0.5}}, "drop lower, or choose kind: mask"),
        ({"name": "ppo", "correction": {"kind": "mask", "upper": 0.4}}, "lower (0.5) leaves no weight below"),
        (
            {"name": "ppo", "correction": {"reject": [{"measure": "token_k2", "lower": 1, "upper": 2}]}},
            "token_k2 is never negative; drop lower, or measure a k1",
        ),
        (
            {"name": "ppo", "correction": {"reject": [{"measure": "seq_sum_k1", "lower": 3, "upper": 2}]}},
            "lower (3) exceeds upper (2)",
        ),
        (
            {"name": "ppo", "correction": {"reject": [{"measure": "seq_sum_k1", "upper": 0.5}]}},
            "upper (0.5) is a ratio below 1; give lower as well",
        ),
        ({"name": "ppo", "clip": 1.5}, "clip (1.5) leaves no lower bound, since a ratio never falls by 1"),
        ({"name": "ppo", "kl_horizon": 100}, "the penalty is not steered; give kl_target as well"),
        (
            {"name": "reinforce_plus_plus", "group_baseline": True, "gamma": 0.5},
            "all tokens of a response have its whole reward; drop one of the two",
        ),
        ({"name": "dapo", "overlong_penalty": 5}, "which are 0; give overlong_buffer as well"),
        ({"name": "dapo", "maximum_rounds": 0}, "greater than or equal to 1"),
    ],
)
def test_a_senseless_combination_is_told_what_to_try(keys: dict[str, Any], said: str) -> None:
    assert said in message_of(**keys)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_an_algorithm_is_finite(name: str, value: float) -> None:
    options = OPTIONS.validate_python({"name": name})
    numbers = [field for field, default in options if isinstance(default, float)]
    assert "clip" in numbers
    for field in numbers:
        assert "finite number" in message_of(name=name, **{field: value})
    assert "finite number" in message_of(name=name, correction={"upper": value})


def test_every_measure_can_reject() -> None:
    assert len(get_args(Divergence)) == 11
    rejections = tuple(Rejection(measure=measure, upper=2.0) for measure in get_args(Divergence))
    assert Correction(reject=rejections).reject == rejections


PAGE = (Path(__file__).parents[3] / "docs" / "algorithms.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_each_algorithms_options_with_their_defaults(name: str) -> None:
    options = OPTIONS.validate_python({"name": name})
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    listed = dict(re.findall(r"`(\w+): ([^`]+)`", line))
    own = {
        field: text_of(value)
        for field, value in options
        if field != "name" and (field not in Options.model_fields or value != getattr(Options(), field))
    }
    assert listed == own


@pytest.mark.parametrize("model", [Options, Correction])
def test_the_page_has_the_options_of_all(model: type[Value]) -> None:
    listed: dict[str, str] = {}
    for line in PAGE.splitlines():
        cells = line.split(" | ")
        if line.startswith("| `") and len(cells) == 3:
            names, defaults = (re.findall(r"`([^`]+)`", cell) for cell in cells[:2])
            listed |= dict(zip(names, defaults * len(names), strict=False))
    assert set(model.model_fields) <= set(listed) | {"upper", "reject"}
    for field, value in model():
        if field not in {"upper", "lower", "reject"}:  # whose defaults are words, or depend on another option
            assert listed[field] == text_of(value), field


def text_of(value: object) -> str:
    """A default as the page writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
