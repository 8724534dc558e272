import numpy as np
import pytest
from pydantic import ValidationError

from planner.costs.kernels.grids import grid_value
from planner.domain.fits import GridFit

PLANE = GridFit(axes=((0.0, 2.0), (0.0, 1.0, 4.0)), values=(0.0, 1.0, 4.0, 2.0, 3.0, 6.0))
"""The sum of both logarithms."""


def at(first, second):
    return float(grid_value(PLANE, (np.array([float(first)]), np.array([float(second)])))[0])


def test_values_are_linear_in_the_logarithms_between_points():
    assert at(2, 8) == pytest.approx(1 + 3)
    assert at(4, 1) == pytest.approx(2)


def test_beyond_the_grid_its_edge_counts():
    assert at(1024, 2**20) == pytest.approx(2 + 4)
    assert at(0.25, 0.5) == pytest.approx(0)


def test_a_grid_has_a_value_for_every_point():
    with pytest.raises(ValidationError, match="6 grid points, 2 values"):
        GridFit(axes=((0.0, 2.0), (0.0, 1.0, 4.0)), values=(0.0, 1.0))


def test_a_grid_is_written_as_text_and_read_back():
    written = PLANE.model_dump(mode="json")
    assert written["axes"] == ["0 2", "0 1 4"]
    assert GridFit.model_validate(written) == PLANE
