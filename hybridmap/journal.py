"""The journal of a sweep: each finished row at once in a file, so that nothing is computed twice.

One JSON object a line. The first line says what is swept; the others are rows, in the order in which they
were finished. A line counts once its end is on the disk: what a kill leaves of the last one is dropped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

import planner
from planner.domain.sweep import Row
from planner.domain.text import refuse_unwritable
from planner.errors import SpecError

NAME = "rows.jsonl"


class Journal:
    """An open journal: the rows that were there, and a place for more."""

    def __init__(self, file: IO[bytes], rows: Mapping[int, Row]) -> None:
        self._file = file
        self.rows = dict(rows)

    def append(self, row: Row) -> None:
        """Keep one more row; it is on the disk once this returns."""
        self._file.write(row.model_dump_json().encode() + b"\n")
        _to_disk(self._file)
        self.rows[row.point] = row

    def count(self) -> int:
        """Rows on the disk."""
        self._file.seek(0)
        return self._file.read().count(b"\n") - 1


@contextmanager
def journal(folder: Path, subject: Mapping[str, Any], *, is_fresh: bool) -> Iterator[Journal]:
    """The journal of a folder, made where there is none.

    Parameters
    ----------
    subject
        What is swept, part by part, those first that a difference is best explained by.
    is_fresh
        Whether rows that are there already are dropped, whatever they are of.

    Raises
    ------
    SpecError
        The folder's journal is of another sweep, is broken, is being written, or cannot be.
    """
    path = folder / NAME
    refuse_unwritable(path)
    with _opened(path) as file:
        _lock(file, path)
        if is_fresh:
            file.truncate(0)
        yield Journal(file, _rows(file, path, dict(subject)))


def _opened(path: Path) -> IO[bytes]:
    """A file to read and to append to, made with its folder where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b")
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from None


def _lock(file: IO[bytes], path: Path) -> None:
    """Let no second sweep write here until this one ends, however it does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpecError(f"{path}: another sweep writes here; wait for it, or name another folder") from None


def digest_of(value: Any) -> str:
    """A short text that is another one for another value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def program() -> str:
    """The same of the planner's source, but for how it shows things: another version's rows may be others."""
    home = Path(planner.__file__).parent
    files = sorted(path for path in home.rglob("*.py") if "reporting" not in path.parts)
    whole = hashlib.sha256()
    for path in files:
        whole.update(str(path.relative_to(home)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]


def _rows(file: IO[bytes], path: Path, subject: dict[str, Any]) -> dict[int, Row]:
    """The rows of a journal of this sweep, cut where a kill left half a line; an empty one is begun."""
    begin = json.dumps(subject, sort_keys=True).encode()
    file.seek(0)
    *lines, torn = file.read().split(b"\n")
    if lines or not begin.startswith(torn):
        _refuse_another(lines[0] if lines else torn, subject, path)
    file.truncate(sum(len(line) + 1 for line in lines))
    if not lines:
        file.write(begin + b"\n")
        _to_disk(file)
    rows = [_row(line, number, path) for number, line in enumerate(lines[1:], start=2)]
    return {row.point: row for row in rows}


def _refuse_another(line: bytes, subject: dict[str, Any], path: Path) -> None:
    """Refuse the rows of another sweep."""
    try:
        known = json.loads(line)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise SpecError(f"{path}:1: is no journal of a sweep; name another folder, or add --fresh")
    differing = [key for key in dict.fromkeys((*subject, *known)) if subject.get(key) != known.get(key)]
    if differing:
        raise SpecError(
            f"{path}: has rows of another sweep: other {differing[0]}; name another folder, or add "
            "--fresh to drop them"
        )


def _row(line: bytes, number: int, path: Path) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError:
        raise SpecError(
            f"{path}:{number}: is no row of a sweep; add --fresh to compute all rows anew"
        ) from None


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
