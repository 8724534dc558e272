"""The executed counterpart of `planner.algorithms.trace.SymbolicBatch`: named fields, each a future.

A field's rows lie in Ray's object store, one object per shard. The controller passes references on and
never holds a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ray import ObjectRef


class Shard(NamedTuple):
    """Consecutive rows of a field, and where they lie."""

    rows: range
    ref: ObjectRef


class Piece(NamedTuple):
    """Rows ``start`` to ``stop`` of one shard, counted from the shard's first row."""

    shard: int
    start: int
    stop: int


class Future:
    """One field's shards, known from the moment that the call making them is submitted."""

    __slots__ = ("_shards",)

    def __init__(self, shards: Sequence[Shard] | None = None) -> None:
        self._shards = None if shards is None else tuple(shards)

    @property
    def is_submitted(self) -> bool:
        """Whether the shards have references yet."""
        return self._shards is not None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards in rising order of their rows."""
        assert self._shards is not None, "a call is submitted only after those that make its inputs"
        return self._shards

    def resolve(self, shards: Sequence[Shard]) -> None:
        """Say where the shards lie."""
        self._shards = tuple(shards)


@dataclass(frozen=True, slots=True)
class Batch:
    """The fields of an iteration's samples."""

    samples: int
    fields: Mapping[str, Future]

    def __or__(self, other: "Batch") -> "Batch":
        return Batch(self.samples, {**self.fields, **other.fields})

    def only(self, *fields: str) -> "Batch":
        """The batch without its other fields."""
        return Batch(self.samples, {field: self.fields[field] for field in fields})


def pieces_of(shards: Sequence[Shard], wanted: Sequence[range]) -> list[Piece]:
    """Which part of which shard holds the wanted rows, in the wanted order.

    >>> pieces_of([Shard(range(0, 4), None), Shard(range(4, 8), None)], [range(2, 5)])
    [Piece(shard=0, start=2, stop=4), Piece(shard=1, start=0, stop=1)]
    """
    return [piece for rows in wanted for piece in _pieces_of_range(shards, rows)]


def _pieces_of_range(shards: Sequence[Shard], rows: range) -> Iterator[Piece]:
    for index, shard in enumerate(shards):
        start, stop = max(rows.start, shard.rows.start), min(rows.stop, shard.rows.stop)
        if start < stop:
            yield Piece(index, start - shard.rows.start, stop - shard.rows.start)
