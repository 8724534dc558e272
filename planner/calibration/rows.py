"""Rows of a measured CSV file, each field checked as it is read."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from planner.calibration.known import known_device
from planner.domain.cluster import DeviceSpec
from planner.domain.mistakes import closest
from planner.errors import SpecError

SHOWN_MISTAKES = 20
"""Of a broken file; the rest are counted."""


NUMBER, COUNT = "a number above 0", "a whole number from 1"

_T = TypeVar("_T")


class RowError(ValueError):
    """Fields of rows are not what their columns need."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes
        """One line each: the line of the file, the column, what was expected, what was found."""


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
            raise self.error(column, NUMBER)
        return value

    def optional_number(self, column: str) -> float | None:
        """A finite number above zero, none when empty."""
        value = self._float(column)
        if value is None and self.optional_text(column) is not None:
            raise self.error(column, NUMBER)
        return value

    def count(self, column: str) -> int:
        """A whole number from 1."""
        value = self.optional_count(column)
        if value is None:
            raise self.error(column, COUNT)
        return value

    def optional_count(self, column: str) -> int | None:
        """A whole number from 1, none when empty; ``8.0`` counts as one."""
        value = self._float(column)
        if value is not None and value == int(value):
            return int(value)
        if self.optional_text(column) is not None:
            raise self.error(column, COUNT)
        return None

    def _float(self, column: str) -> float | None:
        """The field as a finite number above zero, if it is one."""
        try:
            value = float(self.fields.get(column) or "")
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None

    def error(self, column: str, expected: str) -> RowError:
        """What is wrong with a field of this row."""
        found = self.fields.get(column)
        shown = "nothing" if not (found or "").strip() else repr(found)
        return RowError(f"line {self.line}: {column}: expected {expected}, found {shown}")


def parse_all(rows: Sequence[Row], parse: Callable[[Row], _T]) -> list[_T]:
    """Every row parsed.

    Raises
    ------
    RowError
        With the mistakes of all rows that cannot be parsed.
    """
    parsed: list[_T] = []
    mistakes: list[str] = []
    for row in rows:
        try:
            parsed.append(parse(row))
        except RowError as error:
            mistakes += error.mistakes
    if mistakes:
        raise RowError(*mistakes)
    return parsed


def device_of(row: Row, column: str, given: DeviceSpec | None) -> DeviceSpec | None:
    """The catalog device that a row names, else the one given; none where the catalog lacks its name.

    Raises
    ------
    RowError
        Neither names any.
    """
    name = row.optional_text(column)
    if name is not None:
        return known_device(name)
    if given is None:
        raise row.error(column, "the name of a device (or give --device)")
    return given


def read_rows(path: Path, *, columns: Sequence[str]) -> list[Row]:
    """All rows of a CSV file that has at least these columns.

    Raises
    ------
    SpecError
        The file cannot be read, has no rows, lacks a column, or has a row of another length.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        lines = [(reader.line_num, fields) for fields in reader if fields]
    except csv.Error as error:
        raise SpecError(f"{path}: line {reader.line_num}: not a row of a CSV file: {error}") from None
    if not lines:
        raise SpecError(f"{path}: is empty; expected a header with {', '.join(columns)}")
    header = [name.strip() for name in lines[0][1]]
    _check_header(path, header, columns)
    wrong = [
        f"line {line}: expected {len(header)} fields, found {len(fields)}"
        for line, fields in lines[1:]
        if len(fields) != len(header)
    ]
    if wrong:
        raise mistakes_of(path, wrong)
    if len(lines) == 1:
        raise SpecError(f"{path}: has no rows under its header")
    return [Row(line=line, fields=dict(zip(header, fields, strict=True))) for line, fields in lines[1:]]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8") from None


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise SpecError(f"{path}: line 1: names the columns {', '.join(map(repr, twice))} more than once")
    missing = [f"{name!r}{closest(name, header)}" for name in columns if name not in header]
    if missing:
        raise SpecError(f"{path}: line 1: lacks the columns {', '.join(missing)}")


def mistakes_of(path: Path, found: Sequence[str]) -> SpecError:
    """The error that lists the mistakes of a file, the rest counted where there are many."""
    shown = [f"{path}: {mistake}" for mistake in found[:SHOWN_MISTAKES]]
    rest = len(found) - len(shown)
    return SpecError("\n".join(shown + ([f"{path}: and {rest} mistakes more"] if rest else [])))
