"""Rows that agree in some columns, so that what depends on these alone is computed once for all of them.

Values become numbers through tables instead of by sorting, and in chunks that stay in the cache: moving whole
columns through memory takes most of the time else.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Numbers32 = NDArray[np.int32]
Record = TypeVar("Record")

CHUNK = 16384
"""Rows of one pass, so that its temporaries stay in the cache."""
TABLE_ROWS = 8
"""Entries of a table per row from which sorting is cheaper."""
SMALL_TABLE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Rows in groups of equal ones."""

    rows: NDArray[Any]
    """One row of each group, a whole number."""
    of: Numbers32
    """The group of each row."""

    def __len__(self) -> int:
        return len(self.rows)

    def spread(self, values: Any) -> NDArray[Any]:
        """A value of each group at each of its rows, in the last axis."""
        values = np.asarray(values)
        if values.ndim == 0 or values.shape[-1] != len(self):
            values = np.broadcast_to(values, (*values.shape[:-1], len(self)))
        out = np.empty((*values.shape[:-1], len(self.of)), dtype=values.dtype)
        for rows in chunks(len(self.of)):
            out[..., rows] = np.take(values, self.of[rows], axis=-1)
        return out


def groups_of(values: Whole) -> Groups:
    """Groups of rows of equal value.

    >>> groups_of(np.array([8, 2, 8])).of.tolist()
    [1, 0, 1]
    """
    low, high = int(values.min()), int(values.max())
    if high - low >= _largest_table(len(values)):
        return _sorted(values)
    return _numbered((values - low).astype(np.int32), high - low + 1)


def joined(*columns: Groups) -> Groups:
    """Groups of rows that agree in all columns.

    >>> joined(groups_of(np.array([8, 2, 8])), groups_of(np.array([1, 1, 5]))).of.tolist()
    [1, 0, 2]
    """
    first, *rest = columns
    count = math.prod(map(len, columns))
    if count > _largest_table(len(first.of)):
        if len(columns) > 2:
            return joined(joined(*columns[:-1]), columns[-1])
        return _sorted(first.of.astype(np.int64) * len(rest[0]) + rest[0].of)
    keys = np.empty(len(first.of), dtype=np.int32)
    for rows in chunks(len(keys)):
        key = first.of[rows]
        for column in rest:
            key = key * len(column) + column.of[rows]
        keys[rows] = key
    return _numbered(keys, count)


def taken(record: Record, rows: NDArray[Any] | slice) -> Record:
    """A dataclass of arrays at some places of their last axis; what is the same at all places stays.

    >>> taken(groups_of(np.array([8, 2, 8])), slice(1)).of.tolist()
    [1]
    """
    kind: Any = type(record)
    some: Record = kind(**{field.name: _at(getattr(record, field.name), rows) for field in fields(kind)})
    return some


def chunks(count: int) -> Iterator[slice]:
    """So many rows, a few thousand at a time."""
    return (slice(begin, min(begin + CHUNK, count)) for begin in range(0, count, CHUNK))


def _at(value: Any, rows: NDArray[Any] | slice) -> Any:
    if is_dataclass(value):
        return taken(value, rows)
    if np.ndim(value) == 0 or value.shape[-1] == 1:
        return value
    return value[..., rows] if isinstance(rows, slice) else np.take(value, rows, axis=-1)


def _numbered(keys: Numbers32, count: int) -> Groups:
    """Groups of equal keys from 0 up to ``count``; the keys are overwritten."""
    row_after = np.zeros(count, dtype=np.int32)
    for rows in chunks(len(keys)):
        row_after[keys[rows]] = np.arange(rows.start + 1, rows.stop + 1)
    present = np.flatnonzero(row_after)
    numbers = np.zeros(count, dtype=np.int32)
    numbers[present] = np.arange(len(present))
    for rows in chunks(len(keys)):
        keys[rows] = numbers[keys[rows]]
    return Groups(rows=row_after[present] - 1, of=keys)


def _sorted(keys: Whole) -> Groups:
    _, rows, of = np.unique(keys, return_index=True, return_inverse=True)
    return Groups(rows=rows, of=of.astype(np.int32))


def _largest_table(rows: int) -> int:
    return SMALL_TABLE + TABLE_ROWS * rows
