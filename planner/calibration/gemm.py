"""Measured matrix products: how well the costs predict them, and coefficients fitted to them."""

from collections.abc import Sequence

import numpy as np

from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.gemm_fit import COLUMNS, fit, size_masks
from planner.calibration.gemm_rows import Measured, Products, measured_of, predicted_seconds, products_of
from planner.calibration.rows import Row, device_of, parse_all
from planner.costs.bands import band_of
from planner.costs.kernels.gemm import gemm_fit
from planner.costs.uncertainty import kernel_uncertainty
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FitRecord, FlatFit, Residuals
from planner.domain.model import Precision
from planner.errors import SpecError

__all__ = ["COLUMNS", "evaluate", "fit"]

DEVICE_COLUMNS = ("device", "system", "gpu")
"""Any of which may name a row's device."""


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict every product on the device that its row names, else on the one given.

    Raises
    ------
    SpecError
        Neither names one.
    """
    column = next((name for name in DEVICE_COLUMNS if rows and name in rows[0].fields), None)
    if device is None and column is None:
        raise SpecError("gemm: no column names the device (device, system or gpu); give --device NAME")
    parsed = parse_all(rows, lambda row: (measured_of(row), device_of(row, column or "device", device)))
    skipped = [
        Skipped(line=row.line, reason=reason)
        for row, on in parsed
        if (reason := _reason_to_skip(row, on)) is not None
    ]
    advance(len(skipped))
    lines = {each.line for each in skipped}
    batches: dict[tuple[str, Precision], tuple[DeviceSpec, list[Measured]]] = {}
    for row, on in parsed:
        if row.line not in lines and on is not None and row.precision is not None:
            batches.setdefault((on.name, row.precision), (on, []))[1].append(row)
    judged: list[Judged] = []
    for (_, precision), (on, own) in batches.items():
        judged += _judge(on, own, precision)
        advance(len(own))
    return Evaluation(judged=sorted(judged, key=lambda each: each.line), skipped=skipped)


def _reason_to_skip(row: Measured, device: DeviceSpec | None) -> str | None:
    if device is None:
        return "unknown device"
    if row.precision is None:
        return f"no cost model of dtype {row.dtype!r}"
    if row.precision not in device.peak:
        return f"{device.name} states no peak of {row.precision}"
    return None


def _judge(device: DeviceSpec, rows: Sequence[Measured], precision: Precision) -> list[Judged]:
    products = products_of(rows, precision)
    predicted = predicted_seconds(device, products)
    low, high = _bands(device, products, predicted)
    return [
        Judged(
            line=row.line,
            source=row.source,
            group=f"{device.name} {row.source} {row.dtype}",
            measured=row.seconds,
            predicted=float(predicted[at]),
            low=float(low[at]),
            high=float(high[at]),
        )
        for at, row in enumerate(rows)
    ]


def _bands(device: DeviceSpec, products: Products, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 90 % band of each prediction, by the residuals of its part of sizes."""
    low, high = np.empty_like(predicted), np.empty_like(predicted)
    for name, mask in size_masks(products).items():
        low[mask], high[mask] = band_of(predicted[mask], _residuals(device, products.precision, name))
    return low, high


def _residuals(device: DeviceSpec, precision: Precision, part: str) -> Residuals:
    fitted = gemm_fit(device, precision)
    record: FitRecord | None = None
    if not isinstance(fitted, FlatFit):
        of_part = fitted.record.parts.get(part, fitted.record.held_out)
        record = fitted.record.model_copy(update={"held_out": of_part})
    known = precision != "fp8" or device.kernels.relative is None
    return kernel_uncertainty(
        device, record, kernel="gemm", precision="bf16" if known else precision
    ).residuals
