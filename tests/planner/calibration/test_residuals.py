"""Residuals of held-out rows: their variance parts and their coverage."""

import numpy as np
import pytest

from planner.calibration.residuals import (
    band_of_groups,
    coverage,
    covers_of,
    parts_of,
    residuals_of,
    variance_parts,
)


def test_errors_are_those_of_the_score() -> None:
    found = residuals_of([10.0, 10.0], [11.0, 8.0], ["a", "b"])
    assert (found.rows, found.mape) == (2, pytest.approx(0.15))
    assert found.low < 0 < found.high


def test_parts_of_a_variance_are_found_again() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), 20)
    logs = random.normal(0, 0.05, 400)[groups] + random.normal(0, 0.1, len(groups))
    shared, own = variance_parts(logs, groups.tolist())
    assert (shared, own) == (pytest.approx(0.05, rel=0.1), pytest.approx(0.1, rel=0.05))


def test_a_bias_counts_as_shared() -> None:
    shared, own = variance_parts(np.full(6, 0.2), ["a", "a", "b", "b", "c", "c"])
    assert (shared, own) == (pytest.approx(0.2), 0.0)


def test_rows_like_those_of_other_groups_are_covered_and_strangers_are_not() -> None:
    random = np.random.default_rng(0)
    alike = random.normal(0, 0.1, 2000)
    assert coverage(alike, (np.arange(2000) % 50).tolist()) == pytest.approx(0.9, abs=0.02)
    assert coverage(np.arange(20.0), list(range(20))) == 0.8, "the outermost lie outside of the others' band"
    assert coverage(alike, ["one"] * 2000) is None


def test_a_few_groups_that_differ_leave_room_for_another() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 50)
    logs = np.array([-0.05, -0.02, 0.02, 0.05])[groups] + random.normal(0, 0.01, len(groups))
    few = band_of_groups(logs, groups.tolist())
    shared, own = variance_parts(logs, groups.tolist())
    half_width = np.hypot(2.015 * shared, 1.645 * own)
    assert few == (pytest.approx(-half_width, rel=1e-3), pytest.approx(half_width, rel=1e-3))
    many = band_of_groups(logs, (np.arange(200) % 40).tolist())
    assert many == tuple(np.quantile(logs, (0.05, 0.95)))
    assert few[0] < many[0] < many[1] < few[1]


def test_parts_are_the_residuals_of_some_rows() -> None:
    masks = {"first": np.array([True, False, True]), "none": np.zeros(3, dtype=bool)}
    found = parts_of([1.0, 1.0, 1.0], [1.1, 9.0, 1.3], ["a", "b", "c"], masks)
    assert set(found) == {"first"}
    assert (found["first"].rows, found["first"].mape) == (2, pytest.approx(0.2))
    assert covers_of(devices=[8, 512, 64]) == {"devices": (8.0, 512.0)}
