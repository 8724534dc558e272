"""Seconds of matrix multiplications: tiles in waves over the multiprocessors, split-K, caches.

A kernel cuts y[m, n] into tiles, one thread block each, which run in waves over the multiprocessors
(NVIDIA, "Matrix Multiplication Background User's Guide", sections 3 and 4); a library picks the fastest of
its tile shapes and may split k when tiles are too few (CUTLASS, "Efficient GEMM", "Parallelized reductions").
The coefficients come from measured rows (`planner.calibration.gemm`).
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.costs.peaks import peak_flops_per_s
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FlatFit, GemmFit
from planner.domain.model import Precision

Numbers: TypeAlias = float | NDArray[np.float64]
"""One number or an array; arrays of one call must broadcast."""

OPERAND_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "fp32": 4}
RESULT_BYTES = {"bf16": 2, "fp16": 2, "fp8": 2, "fp32": 4}
_TILES = np.array(
    [
        *((256, 128), (128, 256), (128, 128), (128, 64), (64, 128), (64, 256), (64, 64), (256, 64)),
        *((32, 64), (64, 32), (16, 64), (32, 128), (16, 128)),
    ],
    dtype=np.float64,
)
"""Rows and columns of the tile shapes to choose from."""
_K_STEP = 64
_SPLIT_K = 256
"""Least k of one part of a split."""


def gemm_seconds(
    device: DeviceSpec,
    m: Numbers,
    n: Numbers,
    k: Numbers,
    *,
    precision: Precision = "bf16",
    groups: Numbers = 1,
) -> Numbers:
    """Seconds of y[m, n] = x[m, k] w[k, n], for ``groups`` equal products in one kernel."""
    fit = device.kernels.gemm
    floor = gemm_floor_seconds(device, m, n, k, precision=precision, groups=groups)
    if isinstance(fit, FlatFit):
        return floor / fit.share + fit.launch
    return np.maximum(_tiled_seconds(device, fit, (m, n, k, groups), precision), floor)


def gemm_backward_seconds(
    device: DeviceSpec,
    m: Numbers,
    n: Numbers,
    k: Numbers,
    *,
    precision: Precision = "bf16",
    groups: Numbers = 1,
) -> Numbers:
    """Seconds of the two products that undo a forward y[m, n] = x[m, k] w[k, n].

    dx[m, k] = dy[m, n] w^T and dw[k, n] = x^T dy, with the same FLOPs each.
    """
    to_input = gemm_seconds(device, m, k, n, precision=precision, groups=groups)
    to_weight = gemm_seconds(device, k, n, m, precision=precision, groups=groups)
    return to_input + to_weight


def gemm_floor_seconds(
    device: DeviceSpec,
    m: Numbers,
    n: Numbers,
    k: Numbers,
    *,
    precision: Precision = "bf16",
    groups: Numbers = 1,
) -> Numbers:
    """What no kernel can beat: all FLOPs at the peak, every matrix moved once at the memory's bandwidth."""
    flops = 2.0 * groups * m * n * k
    moved = groups * _moved_bytes(m, n, k, precision)
    return np.maximum(flops / peak_flops_per_s(device, precision), moved / device.memory_bandwidth)


def _moved_bytes(m: Numbers, n: Numbers, k: Numbers, precision: Precision) -> Numbers:
    return (m * k + n * k) * OPERAND_BYTES[precision] + m * n * RESULT_BYTES[precision]


def _tiled_seconds(
    device: DeviceSpec,
    fit: GemmFit,
    sizes: tuple[Numbers, ...],
    precision: Precision,
) -> NDArray[np.float64]:
    """The fastest tile shape, split or not."""
    m, n, k, groups = (np.asarray(size, dtype=np.float64)[..., None] for size in sizes)
    rows, columns = _TILES[:, 0], _TILES[:, 1]
    moving = _moving_seconds(device, fit, groups * _moved_bytes(m, n, k, precision))
    rate = peak_flops_per_s(device, precision) / device.multiprocessors * _tile_share(fit)
    tiles = groups * np.ceil(m / rows) * np.ceil(n / columns)
    most = np.maximum(1.0, np.floor(k / _SPLIT_K))
    best: list[NDArray[np.float64]] = []
    for splits in (
        np.ones_like(tiles),
        np.clip(np.floor(device.multiprocessors / tiles), 1.0, most),
        np.clip(np.floor(2 * device.multiprocessors / tiles), 1.0, most),
    ):
        load = tiles * splits / device.multiprocessors
        waves = np.ceil(load) * (1 - fit.overlap) + np.maximum(load, 1.0) * fit.overlap
        depth = np.ceil(k / splits / _K_STEP) * _K_STEP + fit.prologue
        computing = waves * (2 * rows * columns * depth / rate)
        is_split = splits > 1
        reducing = is_split * 8 * groups * m * n * splits / (device.memory_bandwidth * fit.cache_share)
        memory = moving / np.minimum(load / fit.saturation, 1.0) ** fit.saturation_power + reducing
        both = (computing**fit.norm + memory**fit.norm) ** (1 / fit.norm)
        best.append((both + fit.launch + is_split * fit.split_launch).min(axis=-1))
    fastest: NDArray[np.float64] = np.min(best, axis=0)
    return fastest


def _tile_share(fit: GemmFit) -> NDArray[np.float64]:
    """Share of the peak by tile: small tiles load more per FLOP."""
    rows, columns = _TILES[:, 0], _TILES[:, 1]
    area = rows * columns
    return fit.share * area / (area + fit.edge * (rows + columns)) * rows / (rows + fit.row_edge)


def _moving_seconds(device: DeviceSpec, fit: GemmFit, moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each matrix once, from the cache as far as it holds them."""
    if not device.l2:
        return moved / (device.memory_bandwidth * fit.memory_share)
    warm = 1 / (1 + (moved / (device.l2 * fit.cache_reach)) ** fit.cache_power)
    return moved / device.memory_bandwidth * (warm / fit.cache_share + (1 - warm) / fit.memory_share)
