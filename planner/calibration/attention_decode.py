"""Measured decode attention: how well the costs predict it."""

from collections.abc import Sequence

from planner.calibration.attention_rows import columns_of, decode_parts, decode_seconds
from planner.calibration.attention_score import Scoring, evaluate_attention
from planner.calibration.evaluation import Advance, Evaluation
from planner.calibration.rows import Row
from planner.domain.cluster import DeviceSpec

_LENGTH = "kv_len"
COLUMNS = columns_of(_LENGTH)
_SCORING = Scoring(
    length=_LENGTH,
    predict=decode_seconds,
    parts=decode_parts,
    record=lambda kernels: kernels.decode.record,
)


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict every decode step, small caches found in the device's cache as they were when measured."""
    return evaluate_attention(_SCORING, rows, device=device, advance=advance)
