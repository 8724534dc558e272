"""Measured training steps: how well the costs predict them, and constants of engines fitted to them."""

from collections.abc import Iterable, Sequence

import numpy as np

from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.rows import Row, parse_all
from planner.calibration.training_batches import batches_of, predicted_seconds
from planner.calibration.training_fit import fit
from planner.calibration.training_rows import COLUMNS, Measured, measured_of
from planner.costs.bands import band_of
from planner.costs.memory.activations import Batch
from planner.costs.memory.memory import peak_training_bytes
from planner.costs.passes.training import RECOMPUTE
from planner.costs.uncertainty import MEMORY, Uncertainty, kernel_uncertainty
from planner.domain.cluster import DeviceSpec

__all__ = ["COLUMNS", "evaluate", "fit"]

AT_ONCE = 256
"""Rows between two signs of progress."""


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict the seconds of every step, and the peak of memory where a row states it."""
    found = parse_all(rows, lambda row: (row.line, measured_of(row, device)))
    skipped = [Skipped(line=line, reason=step) for line, step in found if isinstance(step, str)]
    steps = [step for _, step in found if not isinstance(step, str)]
    judged: list[Judged] = []
    for start in range(0, len(steps), AT_ONCE):
        some = steps[start : start + AT_ONCE]
        judged += [*_judged_seconds(some), *_judged_bytes(some)]
        advance(len(some))
    advance(len(skipped))
    return Evaluation(judged=sorted(judged, key=lambda each: each.line), skipped=skipped)


def _judged_seconds(steps: Sequence[Measured]) -> Iterable[Judged]:
    predicted = predicted_seconds(batches_of(steps))
    for step, seconds in zip(steps, predicted, strict=True):
        low, high = band_of(seconds, uncertainty_of(step).residuals)
        yield Judged(
            line=step.line,
            source=step.source,
            group=step.group,
            measured=step.seconds,
            predicted=float(seconds),
            low=float(low),
            high=float(high),
            choice=step.choice,
        )


def uncertainty_of(step: Measured) -> Uncertainty:
    """How far a step may be off: as the rows of its engine, more in a precision that they don't have."""
    job = step.job
    key = f"{job.device.architecture}/{job.precision}"
    is_measured = job.stack.record is not None and key in job.stack.speeds
    precision = "bf16" if is_measured else job.precision
    return kernel_uncertainty(job.device, job.stack.record, kernel=job.stack.name, precision=precision)


def _judged_bytes(steps: Sequence[Measured]) -> Iterable[Judged]:
    for step in steps:
        if step.peak_bytes is None:
            continue
        predicted = float(np.asarray(peak_bytes(step)))
        low, high = band_of(predicted, MEMORY)
        yield Judged(
            line=step.line,
            source=step.source,
            group=step.group,
            measured=step.peak_bytes,
            predicted=predicted,
            low=float(low),
            high=float(high),
            measure="memory",
        )


def peak_bytes(step: Measured) -> float:
    """Bytes that the step allocates at its peak."""
    batch = Batch(
        sequences=step.sequences, total=step.sequences * step.micro_batches, tokens=int(step.job.tokens)
    )
    return float(peak_training_bytes(step.job, step.sizes, batch, recompute=RECOMPUTE[step.recompute]))
