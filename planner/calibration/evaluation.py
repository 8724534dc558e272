"""What every kind of measured row is turned into: a measurement with the prediction that belongs to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.calibration.rows import Row
from planner.domain.cluster import DeviceSpec

Advance = Callable[[int], None]
"""Called with the number of rows done since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One row that was evaluated; seconds, or bytes where the measure says so."""

    line: int
    source: str
    """Who measured: the rows of a table of errors."""
    group: str
    """Rows that share their model and stack, so that part of their error is common."""
    measured: float
    predicted: float
    low: float
    """The 90 % band of the prediction."""
    high: float
    measure: str = "seconds"
    """What was measured, where a row has several figures: ``ttft``, ``tpot``, ``memory``."""
    choice: str | None = None
    """Rows of the same choice differ in parallel sizes only; regret is counted among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One row that was not evaluated."""

    line: int
    reason: str
    """The same words for the same cause, so that they can be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All rows of a file, none left out."""

    judged: Sequence[Judged]
    skipped: Sequence[Skipped]


class Kind(Protocol):
    """How rows of one kind are evaluated. A module of this room that has these names is one."""

    @property
    def COLUMNS(self) -> tuple[str, ...]:  # noqa: N802 (a constant of the module)
        """Columns that a file must have."""
        ...

    def evaluate(self, rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
        """Predict every row.

        Parameters
        ----------
        device
            For files that name none in a column.

        Raises
        ------
        RowError
            Fields are not what their columns need; with the mistakes of all rows (`parse_all`), before any
            row is predicted.
        """
        ...
