"""How well predictions hold: errors of all rows, of each source and of each measure; regret of choices."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.calibration.evaluation import Evaluation, Judged
from planner.errors import PlannerError

APART = frozenset({"memory", "ttft"})
"""Measures that are reported by themselves, not in the headline: bytes, and times to the first token, most
of which is waiting for other requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Statistics of predicted / measured - 1; fractions."""

    evaluated: int
    mape: float
    """Mean of the absolute value."""
    median: float
    p90: float
    worst: float
    bias: float
    """Mean with its sign; above 0 is predicted too slow."""
    coverage: float
    """Share of the measurements inside the 90 % band of their prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """What following the model loses, among measured rows that differ in parallel sizes only."""

    choices: int
    """Sets of such rows, two and more each."""
    mean: float
    """Of measured seconds of the row that the model thinks fastest over those of the fastest, less 1."""
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A file's score."""

    rows: int
    evaluated: int
    skipped: int
    skipped_reasons: Mapping[str, int]
    """Rows by reason, the most frequent first."""
    errors: Errors | None
    """Of measures not `APART`, unless the file has no other; none when no row was evaluated."""
    by_source: Mapping[str, Errors]
    by_measure: Mapping[str, Errors]
    regret: Regret | None


def score(evaluation: Evaluation, *, rows: int) -> Score:
    """The score of an evaluated file of so many rows.

    Raises
    ------
    PlannerError
        A row was left out, or a prediction is no positive number: a mistake of the kind's module.
    """
    judged = evaluation.judged
    _check(evaluation, rows)
    lines = {each.line for each in judged}
    skipped = {each.line: each.reason for each in evaluation.skipped if each.line not in lines}
    timed = [each for each in judged if each.measure not in APART] or judged
    return Score(
        rows=rows,
        evaluated=len(lines),
        skipped=len(skipped),
        skipped_reasons=dict(Counter(skipped.values()).most_common()),
        errors=errors_of(timed) if timed else None,
        by_source=_grouped(timed, lambda each: each.source),
        by_measure=_grouped(judged, lambda each: each.measure),
        regret=regret_of(judged),
    )


def _check(evaluation: Evaluation, rows: int) -> None:
    lines = {each.line for each in evaluation.judged} | {each.line for each in evaluation.skipped}
    if len(lines) != rows:
        raise PlannerError(f"{rows} rows were read, {len(lines)} evaluated or skipped")
    for each in evaluation.judged:
        if not (math.isfinite(each.predicted) and each.predicted > 0):
            raise PlannerError(f"line {each.line}: {each.predicted} {each.measure} were predicted")


def errors_of(judged: Sequence[Judged]) -> Errors:
    """Statistics of at least one row."""
    measured = np.array([each.measured for each in judged])
    signed = np.array([each.predicted for each in judged]) / measured - 1
    inside = [each.low <= each.measured <= each.high for each in judged]
    errors = np.abs(signed)
    return Errors(
        evaluated=len(judged),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        worst=float(errors.max()),
        bias=float(signed.mean()),
        coverage=float(np.mean(inside)),
    )


def regret_of(judged: Sequence[Judged]) -> Regret | None:
    """What the model's choices lose; none where no two rows can be chosen between."""
    sets: dict[tuple[str, str], list[Judged]] = {}
    for each in judged:
        if each.choice is not None:
            sets.setdefault((each.measure, each.choice), []).append(each)
    losses = [_loss(rows) for rows in sets.values() if len(rows) > 1]
    if not losses:
        return None
    return Regret(choices=len(losses), mean=float(np.mean(losses)), worst=max(losses))


def _loss(rows: Sequence[Judged]) -> float:
    chosen = min(rows, key=lambda each: each.predicted)
    return chosen.measured / min(each.measured for each in rows) - 1


def _grouped(judged: Sequence[Judged], name: Callable[[Judged], str]) -> dict[str, Errors]:
    groups: dict[str, list[Judged]] = {}
    for each in judged:
        groups.setdefault(name(each), []).append(each)
    return {key: errors_of(groups[key]) for key in sorted(groups)}
