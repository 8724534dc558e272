"""Measured collectives: how well the costs predict them, and coefficients fitted to them."""

from collections.abc import Sequence

import numpy as np

from planner.calibration.collective_fit import fit
from planner.calibration.collective_rows import (
    LARGE,
    SMALL,
    Measured,
    batches_of,
    measured_of,
    predicted_seconds,
)
from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.rows import Row, device_of, parse_all
from planner.costs.bands import band_of
from planner.costs.uncertainty import kernel_uncertainty
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import CollectiveFit, Residuals

__all__ = ["COLUMNS", "evaluate", "fit"]

COLUMNS = ("op", "num_gpus", "bytes", "latency_ms")


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict every collective on the device that its ``system`` names.

    Rows that span nodes say nothing of the network between them; each device is taken to have an InfiniBand
    NDR port. Nodes of one NVLink domain count as one.
    """
    parsed = parse_all(rows, lambda row: (measured_of(row), device_of(row, "system", device)))
    skipped = [Skipped(line=row.line, reason=reason) for row, on in parsed if (reason := _unusable(row, on))]
    known = [(row, on) for row, on in parsed if on is not None and not _unusable(row, on)]
    judged: list[Judged] = []
    for place in {on.name: on for _, on in known}.values():
        own = [row for row, on in known if on.name == place.name]
        judged += _judge(place, own)
        advance(len(own))
    advance(len(skipped))
    return Evaluation(judged=sorted(judged, key=lambda row: row.line), skipped=skipped)


def _unusable(row: Measured, device: DeviceSpec | None) -> str | None:
    """Why a row cannot be predicted, if so."""
    if device is None:
        return f"unknown device {row.system!r}"
    if row.op is None:
        return f"unknown operation {row.op_name!r}"
    return "a single rank has nothing to exchange" if row.ranks == 1 else None


def _judge(device: DeviceSpec, rows: Sequence[Measured]) -> list[Judged]:
    seconds = predicted_seconds(device, batches_of(rows))
    bands = {part: _residuals(device, part) for part in (LARGE, SMALL)}
    ends = [band_of(predicted, bands[row.part]) for row, predicted in zip(rows, seconds, strict=True)]
    return [
        Judged(
            line=row.line,
            source=row.source,
            group=f"{row.system} {row.library} {row.op_name} {row.ranks}",
            measured=row.seconds,
            predicted=float(predicted),
            low=float(np.asarray(low)),
            high=float(np.asarray(high)),
        )
        for row, predicted, (low, high) in zip(rows, seconds, ends, strict=True)
    ]


def _residuals(device: DeviceSpec, part: str) -> Residuals:
    fitted = device.kernels.collective
    record = None
    if isinstance(fitted, CollectiveFit):
        held_out = fitted.record.parts.get(part, fitted.record.held_out)
        record = fitted.record.model_copy(update={"held_out": held_out})
    return kernel_uncertainty(device, record, kernel="collectives").residuals
