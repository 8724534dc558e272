"""Fit grids of corrections: penalised least squares, shrunk to zero and smooth from point to point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from planner.costs.kernels.grids import corners
from planner.domain.fits import GridFit

Floats = NDArray[np.float64]

SHRINK = 0.3
"""Rows of weight 1 that each grid point's zero counts as."""
SMOOTH = 0.3
"""The same for the difference of two neighbours."""
ROBUST = 0.03
"""Errors beyond this count by their size, smaller ones by its square."""
ROUNDS = 6
"""Of reweighting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where a grid's points lie."""

    axes: tuple[tuple[float, ...], ...]
    """Ascending sizes."""

    @property
    def logs(self) -> tuple[tuple[float, ...], ...]:
        """Base-2 logarithms of the sizes."""
        return tuple(tuple(round(float(np.log2(size)), 4) for size in axis) for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self.axes)


def fitted_grids(
    grids: Sequence[Grid], places: Sequence[Sequence[Floats]], logs: Floats, weights: Floats
) -> list[GridFit]:
    """Grids whose sum follows ``logs``.

    Parameters
    ----------
    places
        Of each grid: the sizes of every row on its axes.
    """
    basis = sparse.hstack([_basis(grid, sizes) for grid, sizes in zip(grids, places, strict=True)]).tocsr()
    penalty = sparse.block_diag([_penalty(grid.shape) for grid in grids]).toarray()
    current = weights
    values = np.zeros(basis.shape[1])
    for _ in range(ROUNDS):
        weighted = basis.T.multiply(current).tocsr()
        values = np.linalg.solve((weighted @ basis).toarray() + penalty, weighted @ logs)
        current = weights / np.sqrt(1 + ((logs - basis @ values) / ROBUST) ** 2)
    ends = np.cumsum([np.prod(grid.shape) for grid in grids])
    return [
        GridFit(axes=grid.logs, values=tuple(np.round(part, 3).tolist()))
        for grid, part in zip(grids, np.split(values, ends[:-1]), strict=True)
    ]


def _basis(grid: Grid, sizes: Sequence[Floats]) -> sparse.csr_matrix:
    """Weight of every grid point in every row."""
    found = corners(grid.logs, sizes)
    rows = np.tile(np.arange(len(sizes[0])), len(found))
    columns = np.concatenate([index for index, _ in found])
    shares = np.concatenate([weight for _, weight in found])
    return sparse.csr_matrix((shares, (rows, columns)), shape=(len(sizes[0]), int(np.prod(grid.shape))))


def _penalty(shape: tuple[int, ...]) -> sparse.csr_matrix:
    """Sum of squares of all values and of all differences of neighbours, as a quadratic form."""
    points = int(np.prod(shape))
    index = np.arange(points).reshape(shape)
    form = SHRINK * sparse.identity(points, format="csr")
    for axis in range(len(shape)):
        low = np.delete(index, -1, axis).ravel()
        high = np.delete(index, 0, axis).ravel()
        each = np.arange(len(low))
        ones = np.ones(len(low))
        steps = sparse.csr_matrix((ones, (each, high)), shape=(len(low), points)) - sparse.csr_matrix(
            (ones, (each, low)), shape=(len(low), points)
        )
        form = form + SMOOTH * steps.T @ steps
    return form
