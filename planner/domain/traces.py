"""Measured lengths of prompts and responses: CSV with a header, JSON lines, or one number a line."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from planner.errors import SpecError

COLUMNS = {
    "prompt_tokens": ("prompt_tokens", "input_tokens", "prompt_length"),
    "response_tokens": ("response_tokens", "output_tokens", "response_length"),
}
"""Names of the column that each kind of lengths is looked for under."""


def read_lengths(path: Path, *, kind: str, column: str | None = None) -> list[float]:
    """Lengths in a file, in its order.

    Parameters
    ----------
    kind
        ``prompt_tokens`` or ``response_tokens``; files with columns have these or their other names.
    column
        The column's name where it is another one.

    Raises
    ------
    SpecError
        The file is missing, has no such column, or a line is no length: its number and what it says.
    """
    text = _text(path)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise SpecError(f"{path}: is empty; write one length a line, or a CSV file with a column {kind}")
    wanted = (column,) if column else COLUMNS[kind]
    if lines[0][1].lstrip().startswith("{"):
        found = _of_objects(path, lines, wanted)
    elif column or not _is_number(lines[0][1]):
        found = _of_columns(path, text, wanted)
    else:
        found = iter(lines)
    lengths = [_length(path, number, word) for number, word in found]
    if not lengths:
        raise SpecError(f"{path}: has a header but no lengths; write one a line below it")
    return lengths


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read as text: {error}") from None


def _of_objects(
    path: Path, lines: Sequence[tuple[int, str]], wanted: Sequence[str]
) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise SpecError(f"{path}: line {number}: is not JSON: {line[:40]!r}") from None
        if not isinstance(value, dict):
            raise SpecError(f"{path}: line {number}: is not an object such as {{{wanted[0]!r}: 512}}")
        yield number, str(value[_column(path, list(value), wanted, line=number)])


def _of_columns(path: Path, text: str, wanted: Sequence[str]) -> Iterator[tuple[int, str]]:
    rows = csv.reader(io.StringIO(text), strict=True)
    index = None
    try:
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if index is None:
                names = [name.strip() for name in cells]
                index = names.index(_column(path, names, wanted, line=rows.line_num))
            else:
                yield rows.line_num, cells[index] if index < len(cells) else ""
    except csv.Error as error:
        raise SpecError(f"{path}: line {rows.line_num}: is not CSV: {error}") from None


def _column(path: Path, names: Sequence[str], wanted: Sequence[str], *, line: int) -> str:
    for name in wanted:
        if name in names:
            return name
    found = ", ".join(names[:8])
    raise SpecError(
        f"{path}: line {line}: no column {' or '.join(wanted)}; found {found}; name one with column: NAME"
    )


def _length(path: Path, number: int, word: str) -> float:
    if not _is_number(word) or not 0 < float(word) <= 1e9:
        raise SpecError(
            f"{path}: line {number}: {word.strip()[:40]!r} is not a number of tokens above 0; correct the "
            "line or leave it out"
        )
    return float(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
