"""Measured prefill attention: how well the costs predict it."""

from collections.abc import Sequence

from planner.calibration.attention_rows import columns_of, prefill_parts, prefill_seconds
from planner.calibration.attention_score import Scoring, evaluate_attention
from planner.calibration.evaluation import Advance, Evaluation
from planner.calibration.rows import Row
from planner.domain.cluster import DeviceSpec

_LENGTH = "seq_len"
COLUMNS = columns_of(_LENGTH)
_SCORING = Scoring(
    length=_LENGTH,
    predict=prefill_seconds,
    parts=prefill_parts,
    record=lambda kernels: kernels.prefill.record,
)


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict every causal prefill, with the write of its keys and values into the cache."""
    return evaluate_attention(_SCORING, rows, device=device, advance=advance)
