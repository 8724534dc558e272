"""Matrix products as a library runs them: tiles in waves over the multiprocessors, split k, memory.

A kernel cuts y[m, n] into tiles, one thread block each, which run in waves over the multiprocessors
(NVIDIA, "Matrix Multiplication Background User's Guide", sections 3 and 4); a library picks the fastest of
its tile shapes and may split k where tiles are too few (CUTLASS, "Efficient GEMM", "Parallelized
reductions").
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels.grids import grid_value
from planner.domain.fits import TileFit

Floats = NDArray[np.float64]

SPLIT_K = 128
"""Least k of one part of a split."""
BLOCKS = (0.0, 4.0)
"""Thread blocks per multiprocessor that a split of k aims at; 0 is no split."""
WIDEST_CORRECTION = 0.5
"""Of the logarithm of seconds by grids."""
_SQUARE = 128 * 128
_MOST_RESIDENT = 4.0
_CHUNK = 512
"""Shapes at a time, so that what they need stays in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a device's data sheet says of one precision."""

    flops_per_s: float
    bytes_per_s: float
    multiprocessors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Products y[m, n] = x[m, k] w[k, n], ``groups`` equal ones in a kernel; arrays of one length."""

    m: Floats
    n: Floats
    k: Floats
    groups: Floats
    moved: Floats
    """Bytes of all matrices, once."""

    def part(self, start: int, stop: int) -> "Shapes":
        """Some of them, as a column."""
        rows = slice(start, stop)
        return Shapes(
            m=self.m[rows, None],
            n=self.n[rows, None],
            k=self.k[rows, None],
            groups=self.groups[rows, None],
            moved=self.moved[rows, None],
        )


def tiled_seconds(rates: Rates, fit: TileFit, shapes: Shapes) -> Floats:
    """Seconds of each product by the fastest tile shape, split or not, and the grids' correction."""
    found = np.empty_like(shapes.m)
    for start in range(0, len(found), _CHUNK):
        stop = start + _CHUNK
        found[start:stop] = _computing_seconds(rates, fit, shapes.part(start, stop))
    moving = _moving_seconds(rates, fit, shapes.moved)
    joined: Floats = (found**fit.norm + moving**fit.norm) ** (1 / fit.norm) + fit.launch
    joined *= np.exp(_correction(rates, fit, shapes))
    return joined


def _computing_seconds(rates: Rates, fit: TileFit, shapes: Shapes) -> Floats:
    """Waves of thread blocks, each through its share of k: [shapes, tiles], the least over the tiles.

    A step of k takes a multiprocessor as long as its blocks multiply, or as long as operands take to
    arrive at any of them; the longer hides most of the shorter.
    """
    rows, columns, shares = tile_shapes(fit)
    area = rows * columns
    per_multiprocessor = rates.flops_per_s / rates.multiprocessors
    multiplying = 2 * area / (per_multiprocessor * shares)
    arriving = 2 * fit.loads / per_multiprocessor
    resident = np.clip(fit.residency * _SQUARE / area, 1.0, _MOST_RESIDENT)
    tiles = shapes.groups * np.ceil(shapes.m / rows) * np.ceil(shapes.n / columns) / rates.multiprocessors
    heat = 1 + _slowdown(rates, fit, shapes)
    adding = 8 * shapes.groups * shapes.m * shapes.n / (rates.bytes_per_s * fit.reduce)
    best = np.full(len(shapes.m), np.inf)
    for blocks in BLOCKS:
        parts = np.clip(np.floor(blocks / tiles), 1.0, np.maximum(1.0, shapes.k // SPLIT_K))
        load = tiles * parts
        busy = _waves(load, fit.overlap) * multiplying
        turns = _waves(load / resident, fit.overlap)
        waiting = turns * arriving
        step = np.maximum(busy, waiting) + fit.exposed * np.minimum(busy, waiting)
        seconds = step * (shapes.k / parts + fit.prologue) * heat + turns * fit.wave
        if blocks:
            seconds += (parts > 1) * (parts * adding + fit.split_launch)
        best = np.minimum(best, seconds.min(axis=1))
    return best


def tile_shapes(fit: TileFit) -> tuple[Floats, Floats, Floats]:
    """(rows, columns, share of the peak) of all tiles, those that are not square both ways round."""
    sides = [(*map(float, name.split("x")), share) for name, share in fit.tiles.items()]
    turned = [(columns, rows, share) for rows, columns, share in sides if rows != columns]
    rows, columns, shares = np.array(sides + turned).T
    return rows, columns, shares


def _waves(load: Floats, overlap: float) -> Floats:
    whole: Floats = np.ceil(load)
    return whole + overlap * (np.maximum(load, 1.0) - whole) if overlap else whole


def _slowdown(rates: Rates, fit: TileFit, shapes: Shapes) -> Floats:
    ideal = 2 * shapes.groups * shapes.m * shapes.n * shapes.k / rates.flops_per_s
    return fit.slowdown * ideal / (ideal + fit.heat)


def _moving_seconds(rates: Rates, fit: TileFit, moved: Floats) -> Floats:
    """Every matrix once."""
    return moved / (rates.bytes_per_s * fit.memory) + fit.latency


def _correction(rates: Rates, fit: TileFit, shapes: Shapes) -> Floats:
    found = np.zeros_like(shapes.m)
    if fit.by_shape:
        found += grid_value(fit.by_shape, (shapes.m, shapes.n, shapes.k))
    if fit.by_waves:
        found += grid_value(fit.by_waves, (square_waves(rates, shapes), shapes.k))
    return np.clip(found, -WIDEST_CORRECTION, WIDEST_CORRECTION)


def square_waves(rates: Rates, shapes: Shapes) -> Floats:
    """128x128 tiles per multiprocessor."""
    tiles: Floats = shapes.groups * np.ceil(shapes.m / 128) * np.ceil(shapes.n / 128)
    return tiles / rates.multiprocessors
