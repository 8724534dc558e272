"""Seconds of matrix multiplications, forward and backward.

`planner.costs.kernels.tiles` says how a kernel runs; its coefficients come from measured rows
(`planner.calibration.gemm`). No prediction is below what the data sheet allows.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels.peaks import peak_flops_per_s
from planner.costs.kernels.tiles import Floats, Rates, Shapes, tiled_seconds
from planner.costs.same import Same
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FlatFit, TileFit
from planner.domain.model import Precision

Numbers: TypeAlias = float | NDArray[np.float64]
"""One number or an array; arrays of one call must broadcast."""

OPERAND_BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "fp32": 4}
RESULT_BYTES = {"bf16": 2, "fp16": 2, "fp8": 2, "fp32": 4}
GRADIENT_BYTES = 8
"""Of a gradient in 32 bits that a product is added to: read and written."""
GENERATIONS = 0.4
"""Stated: between architectures, fixed times fall as this power of a multiprocessor's peak. Tiny kernels of
H100 take 0.76 of the time of A100's, its wait for short reads 0.43 of it, at 2.6 times the peak."""
STRANGE_OVERLAP = 0.5
"""Stated: how far a last wave overlaps with the others is up to the kernels of an architecture (A100 0.1,
H100 0.9); half where none was measured."""
_REMEMBERED = 1024
"""Products of one call that are remembered; fits and surveys ask for more, and once."""
_LEAST = 1e-9
"""Of a size, so that an empty product costs its launch."""


def gemm_seconds(
    device: DeviceSpec,
    m: Numbers,
    n: Numbers,
    k: Numbers,
    *,
    precision: Precision = "bf16",
    groups: Numbers = 1,
) -> Numbers:
    """Seconds of y[m, n] = x[m, k] w[k, n], for ``groups`` equal products in one kernel.

    In fp8 both operands are in 8 bits already; see `quantize_seconds`.
    """
    moved = groups * _moved_bytes(m, n, k, precision, RESULT_BYTES[precision])
    return _product_seconds(device, (m, n, k, groups), moved, precision)


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

    dx[m, k] = dy[m, n] w^T runs like a forward product; dw[n, k] += dy^T x adds to a gradient in 32 bits,
    as Megatron-LM's fused accumulation does (`gemm_gradient_seconds`).
    """
    to_input = gemm_seconds(device, m, k, n, precision=precision, groups=groups)
    return to_input + gemm_gradient_seconds(device, n, k, m, precision=precision, groups=groups)


def gemm_gradient_seconds(
    device: DeviceSpec,
    m: Numbers,
    n: Numbers,
    k: Numbers,
    *,
    precision: Precision = "bf16",
    groups: Numbers = 1,
) -> Numbers:
    """Seconds of y[m, n] += x[m, k] w[k, n], where y is a weight's gradient in 32 bits."""
    fit = device.kernels.gemm
    slower = 1.0 if isinstance(fit, FlatFit) else fit.weight_gradient
    moved = groups * _moved_bytes(m, n, k, precision, GRADIENT_BYTES)
    return slower * _product_seconds(device, (m, n, k, groups), moved, precision)


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
    moved = groups * _moved_bytes(m, n, k, precision, RESULT_BYTES[precision])
    return np.maximum(flops / peak_flops_per_s(device, precision), moved / device.memory_bandwidth)


def quantize_seconds(device: DeviceSpec, m: Numbers, k: Numbers) -> Numbers:
    """Seconds of narrowing x[m, k] from 16 to 8 bits in a kernel of its own, a scale per row."""
    fit = gemm_fit(device, "fp8")
    moving = 3.0 * m * k / device.memory_bandwidth
    if isinstance(fit, FlatFit):
        return moving / fit.share + fit.launch
    if fit.quantize is None:
        return moving / fit.memory + fit.launch
    seconds: Numbers = np.hypot(m * fit.quantize.row, moving / fit.quantize.share) + fit.quantize.launch
    return seconds


def gemm_fit(device: DeviceSpec, precision: Precision) -> TileFit | FlatFit:
    """The coefficients of a precision; those of 16 bits where there are none of 8."""
    fit = device.kernels.gemm
    if isinstance(fit, FlatFit) or precision != "fp8":
        return fit
    return fit.narrow or fit


def _moved_bytes(m: Numbers, n: Numbers, k: Numbers, precision: Precision, result_bytes: int) -> Numbers:
    return (m * k + n * k) * OPERAND_BYTES[precision] + m * n * result_bytes


def _product_seconds(
    device: DeviceSpec, sizes: tuple[Numbers, ...], moved: Numbers, precision: Precision
) -> Numbers:
    """Seconds of products of ``sizes`` (m, n, k, groups) that move so many bytes, never below the floor."""
    m, n, k, groups = sizes
    peak = peak_flops_per_s(device, precision)
    floor: Numbers = np.maximum(2.0 * groups * m * n * k / peak, moved / device.memory_bandwidth)
    fit = gemm_fit(device, precision)
    if isinstance(fit, FlatFit):
        return floor / fit.share + fit.launch
    spread = np.broadcast_arrays(m, n, k, groups, moved)
    columns = [np.maximum(np.asarray(size, dtype=np.float64).ravel(), _LEAST) for size in spread]
    few = len(columns[0]) <= _REMEMBERED
    seconds = (
        _remembered_seconds(Same(device), precision, *(column.tobytes() for column in columns))
        if few
        else _tiled_seconds(device, precision, columns)
    )
    return np.maximum(seconds.reshape(spread[0].shape), floor)


@lru_cache(maxsize=2048)
def _remembered_seconds(device: Same[DeviceSpec], precision: Precision, *columns: bytes) -> Floats:
    """Of sizes as bytes: the same products come up in many layouts, and in many scenarios of one device."""
    found = _tiled_seconds(device.value, precision, [np.frombuffer(column) for column in columns])
    found.setflags(write=False)
    return found


def _tiled_seconds(device: DeviceSpec, precision: Precision, columns: Sequence[Floats]) -> Floats:
    m, n, k, groups, moved = columns
    fit = gemm_fit(device, precision)
    assert isinstance(fit, TileFit), "flat fits know no tiles"
    shapes = Shapes(m=m, n=n, k=k, groups=groups, moved=moved)
    return tiled_seconds(_rates(device, precision), fit_elsewhere(fit, device, precision), shapes)


def _rates(device: DeviceSpec, precision: Precision) -> Rates:
    return Rates(
        flops_per_s=peak_flops_per_s(device, precision),
        bytes_per_s=device.memory_bandwidth,
        multiprocessors=device.multiprocessors,
    )


def fit_elsewhere(fit: TileFit, device: DeviceSpec, precision: Precision) -> TileFit:
    """The coefficients as a device of another architecture than the measured one has them."""
    if device.architecture == fit.architecture:
        return fit
    peak = peak_flops_per_s(device, precision) / device.multiprocessors
    pace = (fit.multiprocessor / peak) ** GENERATIONS
    fixed = {name: pace * getattr(fit, name) for name in ("launch", "split_launch", "wave", "latency")}
    return fit.model_copy(update={**fixed, "overlap": STRANGE_OVERLAP})
