"""Rows of a measured CSV file, each field checked as it is read."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.domain.mistakes import closest
from planner.errors import SpecError

SHOWN_MISTAKES = 20
"""Of a broken file; the rest are counted."""


class RowError(ValueError):
    """One field of one row is not what its column needs."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file."""

    line: int
    """Counted from 1, the header included."""
    fields: dict[str, str]

    def text(self, column: str) -> str:
        """A field that must not be empty."""
        value = self.optional_text(column)
        if value is None:
            raise self.error(column, "a text")
        return value

    def optional_text(self, column: str) -> str | None:
        """A field, none when empty or when the file lacks the column."""
        return (self.fields.get(column) or "").strip() or None

    def number(self, column: str) -> float:
        """A finite number above zero."""
        value = self.optional_number(column)
        if value is None:
            raise self.error(column, "a number above 0")
        return value

    def optional_number(self, column: str) -> float | None:
        """A finite number above zero, none when empty."""
        text = self.optional_text(column)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self.error(column, "a number above 0") from None
        if not (math.isfinite(value) and value > 0):
            raise self.error(column, "a number above 0")
        return value

    def count(self, column: str) -> int:
        """A whole number from 1."""
        value = self.optional_count(column)
        if value is None:
            raise self.error(column, "a whole number from 1")
        return value

    def optional_count(self, column: str) -> int | None:
        """A whole number from 1, none when empty; ``8.0`` counts as one."""
        value = self.optional_number(column)
        if value is not None and (value != int(value) or value < 1):
            raise self.error(column, "a whole number from 1")
        return None if value is None else int(value)

    def error(self, column: str, expected: str) -> RowError:
        """What is wrong with a field of this row."""
        found = self.fields.get(column)
        return RowError(f"line {self.line}: {column}: expected {expected}, found {found!r}")


def read_rows(path: Path, *, columns: Sequence[str]) -> list[Row]:
    """All rows of a CSV file that has at least these columns.

    Raises
    ------
    SpecError
        The file cannot be read, has no rows, lacks a column, or has a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8") from None
    reader = csv.DictReader(text.splitlines(), restkey="", restval="")
    header = list(reader.fieldnames or ())
    missing = [f"{name!r}{closest(name, header)}" for name in columns if name not in header]
    if missing:
        raise SpecError(f"{path}: line 1: lacks the columns {', '.join(missing)}")
    rows = [Row(line=reader.line_num, fields=fields) for fields in reader]
    raise_mistakes(path, [f"line {row.line}: more fields than columns" for row in rows if "" in row.fields])
    if not rows:
        raise SpecError(f"{path}: has no rows under its header")
    return rows


def raise_mistakes(path: Path, mistakes: Iterable[str]) -> None:
    """Raise a SpecError that lists the mistakes of a file, if there are any."""
    found = list(mistakes)
    if not found:
        return
    shown = [f"{path}: {mistake}" for mistake in found[:SHOWN_MISTAKES]]
    rest = len(found) - len(shown)
    raise SpecError("\n".join(shown + ([f"{path}: and {rest} mistakes more"] if rest else [])))
