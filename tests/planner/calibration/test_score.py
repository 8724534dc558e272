"""The figures of a score, by hand."""

import pytest

from planner.calibration.evaluation import Evaluation, Judged, Skipped
from planner.calibration.score import score
from planner.errors import PlannerError


def judged(line: int, measured: float, predicted: float, **fields: str) -> Judged:
    rest = {"source": "lab", "group": "g", **fields}
    return Judged(
        line=line,
        measured=measured,
        predicted=predicted,
        low=0.8 * predicted,
        high=1.2 * predicted,
        **rest,  # type: ignore[arg-type]
    )


def test_errors_are_of_predicted_against_measured() -> None:
    rows = [judged(2, 10.0, 11.0), judged(3, 10.0, 8.0), judged(4, 10.0, 10.0, source="other")]
    found = score(Evaluation(judged=rows, skipped=[]), rows=3)
    assert found.errors is not None
    assert found.errors.mape == pytest.approx(0.1)
    assert found.errors.median == pytest.approx(0.1)
    assert found.errors.p90 == pytest.approx(0.18)
    assert found.errors.worst == pytest.approx(0.2)
    assert found.errors.bias == pytest.approx(-0.1 / 3)
    assert found.errors.coverage == pytest.approx(2 / 3)
    assert found.by_source["lab"].mape == pytest.approx(0.15)
    assert found.by_source["other"].evaluated == 1


def test_bytes_are_reported_beside_seconds() -> None:
    rows = [judged(2, 1.0, 1.0), judged(2, 100.0, 150.0, measure="memory")]
    found = score(Evaluation(judged=rows, skipped=[]), rows=1)
    assert found.errors is not None
    assert (found.evaluated, found.errors.worst) == (1, 0.0)
    assert found.by_measure["memory"].worst == pytest.approx(0.5)


def test_skipped_rows_are_counted_by_reason() -> None:
    skipped = [Skipped(line=line, reason="fp4") for line in (2, 3)] + [Skipped(line=4, reason="no device")]
    found = score(Evaluation(judged=[], skipped=skipped), rows=3)
    assert found.errors is None
    assert found.regret is None
    assert (found.rows, found.evaluated, found.skipped) == (3, 0, 3)
    assert found.skipped_reasons == {"fp4": 2, "no device": 1}


def test_regret_is_what_following_the_model_loses() -> None:
    rows = [
        judged(2, 10.0, 3.0, choice="a"),
        judged(3, 8.0, 4.0, choice="a"),
        judged(4, 5.0, 5.0, choice="b"),
        judged(5, 6.0, 6.0, choice="b"),
        judged(6, 1.0, 9.0, choice="alone"),
        judged(7, 1.0, 9.0),
    ]
    found = score(Evaluation(judged=rows, skipped=[]), rows=6).regret
    assert found is not None
    assert (found.choices, found.worst) == (2, pytest.approx(0.25))
    assert found.mean == pytest.approx(0.125)


def test_a_row_left_out_or_predicted_without_meaning_is_refused() -> None:
    with pytest.raises(PlannerError, match="2 rows were read, 1 evaluated or skipped"):
        score(Evaluation(judged=[judged(2, 1.0, 1.0)], skipped=[]), rows=2)
    with pytest.raises(PlannerError, match="line 2: nan seconds"):
        score(Evaluation(judged=[judged(2, 1.0, float("nan"))], skipped=[]), rows=1)
