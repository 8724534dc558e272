"""Interpolation on grids: corrections by shape that are linear in the logarithms of the sizes."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.domain.fits import GridFit

Floats = NDArray[np.float64]


def grid_value(grid: GridFit, sizes: Sequence[Floats]) -> Floats:
    """The grid's value at each point; beyond the grid that of its edge.

    Parameters
    ----------
    sizes
        Of each axis, arrays of one shape.
    """
    values = np.array(grid.values)
    found = np.zeros(sizes[0].shape)
    for corner, weight in corners(grid.axes, sizes):
        found += weight * values[corner]
    return found


def corners(
    axes: Sequence[Sequence[float]], sizes: Sequence[Floats]
) -> list[tuple[NDArray[np.int64], Floats]]:
    """(flat index, weight) of the grid points around each point."""
    sides = []
    for points, size in zip(axes, sizes, strict=True):
        knots = np.array(points)
        place = np.clip(np.log2(size), knots[0], knots[-1])
        below = np.clip(np.searchsorted(knots, place, side="right") - 1, 0, len(knots) - 2)
        share = (place - knots[below]) / (knots[below + 1] - knots[below])
        sides.append(((below, 1 - share), (below + 1, share)))
    found = []
    for picked in itertools.product(*sides):
        index, weight = picked[0]
        for points, (step, share) in zip(axes[1:], picked[1:], strict=True):
            index, weight = index * len(points) + step, weight * share
        found.append((index, weight))
    return found
