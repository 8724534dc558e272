"""Predictions beside measurements."""

from collections.abc import Callable

import pytest

import planner
from planner.domain.scenario import Scenario
from planner.domain.timeline import Timeline


def measured(predicted: Timeline, factors: list[float]) -> Timeline:
    """A run whose iterations take so many times the predicted one."""
    spans = [
        span.model_copy(
            update={"iteration": number, "start_s": factor * span.start_s, "end_s": factor * span.end_s}
        )
        for number, factor in enumerate(factors)
        for span in predicted.spans
    ]
    return Timeline(origin="measured", spans=tuple(spans))


def test_medians_of_all_but_the_warm_up_stand_beside_the_prediction(tiny: Callable[..., Scenario]) -> None:
    plan = planner.plan(tiny()).plan
    predicted = planner.timeline(plan)
    found = planner.compare(plan, measured(predicted, [10.0, 1.0, 3.0, 2.0]))
    assert found.predicted["total"] == pytest.approx(predicted.end_s)
    assert found.measured.keys() == found.predicted.keys()
    assert all(found.measured[call] == pytest.approx(2 * found.predicted[call]) for call in found.predicted)


def test_a_run_of_one_iteration_is_all_that_there_is(tiny: Callable[..., Scenario]) -> None:
    plan = planner.plan(tiny()).plan
    found = planner.compare(plan, measured(planner.timeline(plan), [2.0]))
    assert found.measured["total"] == pytest.approx(2 * found.predicted["total"])
