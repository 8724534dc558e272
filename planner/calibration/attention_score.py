"""Measured attention kernels beside their predictions."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from planner.calibration.attention_rows import Floats, Names, Shapes, shapes_of
from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.rows import Row, device_of, parse_all
from planner.costs.bands import band_of
from planner.costs.uncertainty import kernel_uncertainty
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import AttentionFit, EngineAttention, FitRecord
from planner.errors import SpecError

DEVICE_COLUMNS = ("device", "system", "gpu")
"""Any of these may name the device of a row."""
SIXTEEN_BITS = ("bf16", "bfloat16", "fp16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How one kind of attention is scored."""

    length: str
    """The column of tokens per sequence."""
    predict: Callable[[DeviceSpec, Shapes, str | None], Floats]
    """Seconds of all rows by the kernels of an engine."""
    parts: Callable[[Shapes], Names]
    record: Callable[[EngineAttention], FitRecord]


def evaluate_attention(
    scoring: Scoring, rows: Sequence[Row], *, device: DeviceSpec | None, advance: Advance
) -> Evaluation:
    """Predict every row by the kernels of its framework, or of whatever framework where it was not measured.

    Raises
    ------
    SpecError
        The file names no device and none was given.
    RowError
        A field is not what its column needs.
    """
    shapes = shapes_of(rows, length=scoring.length)
    devices = devices_of(rows, device)
    reasons = [_reason(*each) for each in zip(rows, devices, shapes.heads, shapes.kv_heads, strict=True)]
    skipped = [
        Skipped(line=row.line, reason=reason) for row, reason in zip(rows, reasons, strict=True) if reason
    ]
    advance(len(skipped))
    kept: dict[tuple[str, str], list[int]] = {}
    for index, (on, engine) in enumerate(zip(devices, shapes.engines.tolist(), strict=True)):
        if on is not None and reasons[index] is None:
            kept.setdefault((on.name, engine), []).append(index)
    judged: list[Judged] = []
    for (_, engine), indices in kept.items():
        on = devices[indices[0]]
        assert on is not None, "rows without a device are skipped"
        lines = [rows[index].line for index in indices]
        mask = np.isin(np.arange(len(rows)), indices)
        judged += _judge(scoring, on, engine, shapes.chosen(mask), lines)
        advance(len(lines))
    return Evaluation(judged=sorted(judged, key=lambda each: each.line), skipped=skipped)


def devices_of(rows: Sequence[Row], given: DeviceSpec | None) -> list[DeviceSpec | None]:
    """The device of each row: that of its column, else the one given; none where the catalog lacks it."""
    column = next((name for name in DEVICE_COLUMNS if rows and name in rows[0].fields), None)
    if column is not None:
        return parse_all(rows, lambda row: device_of(row, column, given))
    if given is None:
        raise SpecError(f"no column names a device ({', '.join(DEVICE_COLUMNS)}): name it with --device")
    return [given] * len(rows)


def _reason(row: Row, device: DeviceSpec | None, heads: float, kv_heads: float) -> str | None:
    """Why a row is not evaluated, if it is not."""
    if device is None:
        return "unknown device"
    if heads % kv_heads:
        return "query heads are not a multiple of key-value heads"
    dtype = row.optional_text("dtype")
    if dtype is not None and dtype not in SIXTEEN_BITS:
        return f"attention in {dtype} is not modelled"
    if "bf16" not in device.peak:
        return f"{device.name} states no bf16 peak"
    return None


def _judge(
    scoring: Scoring, device: DeviceSpec, engine: str, shapes: Shapes, lines: Sequence[int]
) -> Iterator[Judged]:
    predicted = scoring.predict(device, shapes, engine or None)
    parts = scoring.parts(shapes)
    low, high = np.empty_like(predicted), np.empty_like(predicted)
    for part in set(parts.tolist()):
        mask = parts == part
        record = _record(scoring, device, engine, part)
        residuals = kernel_uncertainty(device, record, kernel="attention").residuals
        low[mask], high[mask] = band_of(predicted[mask], residuals)
    for index, (line, group) in enumerate(zip(lines, shapes.groups, strict=True)):
        yield Judged(
            line=line,
            source=engine or "measured",
            group=group,
            measured=float(shapes.seconds[index]),
            predicted=float(predicted[index]),
            low=float(low[index]),
            high=float(high[index]),
        )


def _record(scoring: Scoring, device: DeviceSpec, engine: str, part: str) -> FitRecord | None:
    """The record of an engine, or of any where its version was not measured; residuals are the part's."""
    fit = device.kernels.attention
    if not isinstance(fit, AttentionFit):
        return None
    record = scoring.record(fit.of(engine if engine in fit.engines else None))
    return record.model_copy(update={"held_out": record.parts.get(part, record.held_out)})
