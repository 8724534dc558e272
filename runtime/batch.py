"""The executed counterpart of `planner.algorithms.trace.SymbolicBatch`: named fields, each a future.

A field's rows lie in Ray's object store, one object per shard. The controller passes references on and never
holds a row. A row's number is that of its sample in the iteration.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from ray import ObjectRef


class Shard(NamedTuple):
    """Some rows of a field, and where they lie."""

    rows: Sequence[int]
    ref: ObjectRef


class Piece(NamedTuple):
    """Rows at some positions of one shard."""

    shard: int
    positions: tuple[int, ...]


class Future:
    """One field's shards, known from the moment that the call making them is submitted.

    Parameters
    ----------
    each
        Samples that one row speaks for: those of a prompt, where there is one row per prompt. The row is
        numbered as the first of them.
    """

    __slots__ = ("_places", "_shards", "each")

    def __init__(self, shards: Iterable[Shard] | None = None, *, each: int = 1) -> None:
        self.each = each
        self._shards: list[Shard] | None = None
        self._places: dict[int, tuple[int, int]] = {}
        if shards is not None:
            self.resolve(shards)

    @property
    def is_submitted(self) -> bool:
        """Whether the shards have references yet."""
        return self._shards is not None

    @property
    def shards(self) -> Sequence[Shard]:
        """The shards in the order in which they were made."""
        assert self._shards is not None, "a call is submitted only after those that make its inputs"
        return self._shards

    def resolve(self, shards: Iterable[Shard]) -> None:
        """Say where rows lie: the first ones, or further ones beside those known; later ones win."""
        self._shards = self._shards or []
        for shard in shards:
            number = len(self._shards)
            self._shards.append(shard)
            self._places.update((row, (number, place)) for place, row in enumerate(shard.rows))

    def covers(self, rows: Iterable[int]) -> bool:
        """Whether it is known where all these rows lie."""
        return self.is_submitted and all(row - row % self.each in self._places for row in rows)

    def pieces(self, rows: Iterable[int]) -> list[Piece]:
        """Which positions of which shard hold the rows, in their order; for no rows, nothing of one shard.

        >>> Future([Shard((0, 2), None), Shard((1, 3), None)]).pieces([2, 3, 1])
        [Piece(shard=0, positions=(1,)), Piece(shard=1, positions=(1, 0))]
        """
        places = (self._places[row - row % self.each] for row in rows)
        found = [
            Piece(shard, tuple(position for _, position in run))
            for shard, run in groupby(places, key=lambda place: place[0])
        ]
        return found or [Piece(0, ())]


class Samples:
    """Which samples a batch holds; known once the call that decides it has reported.

    Parameters
    ----------
    rows
        Their numbers; None while they are not known.
    each
        Samples that one row speaks for.
    are_candidates
        Whether some may be dropped yet.
    extra
        Of prompts that are dealt: the last ones, which stay under way when the iteration ends.
    """

    __slots__ = ("_parts", "_rows", "_tokens", "are_candidates", "each", "extra")

    def __init__(
        self,
        rows: Sequence[int] | None = None,
        *,
        each: int = 1,
        are_candidates: bool = False,
        extra: int = 0,
    ) -> None:
        self.each, self.are_candidates, self.extra = each, are_candidates, extra
        self._rows = None if rows is None else tuple(rows)
        self._tokens: Mapping[int, int] = {}
        self._parts: tuple[Samples, ...] = ()

    @property
    def is_known(self) -> bool:
        return all(part.is_known for part in self._parts) if self._parts else self._rows is not None

    @property
    def rows(self) -> tuple[int, ...]:
        """Their numbers."""
        if self._parts:
            return sum((part.rows for part in self._parts), ())
        assert self._rows is not None, "a call is submitted only once its samples are known"
        return self._rows

    @property
    def tokens(self) -> Mapping[int, int]:
        """Tokens of each sample, prompt and response, as far as known."""
        return dict(pair for part in self._parts for pair in part.tokens.items()) or self._tokens

    def resolve(self, rows: Sequence[int], tokens: Mapping[int, int]) -> None:
        """Say which samples there are and how long they are."""
        self._rows, self._tokens = tuple(rows), tokens

    def weights(self) -> list[int]:
        """Tokens of each row, for sharing rows out; equal where they are not known."""
        tokens = self.tokens
        return [tokens.get(row, 1) for row in self.rows]

    def joined(self, other: "Samples") -> "Samples":
        """These samples and others, known when both are."""
        both = Samples(each=self.each, are_candidates=self.are_candidates)
        both._parts = (self, other)
        return both


@dataclass(frozen=True, slots=True)
class Batch:
    """The fields of an iteration's samples."""

    samples: Samples
    fields: Mapping[str, Future]

    def __or__(self, other: "Batch") -> "Batch":
        return Batch(self.samples, {**self.fields, **other.fields})

    def only(self, *fields: str) -> "Batch":
        """The batch without its other fields."""
        return Batch(self.samples, {field: self.fields[field] for field in fields})


def numbered(pieces: Iterable[Piece], shards: Sequence[Shard], refs: list[ObjectRef]) -> Iterator[Piece]:
    """Pieces whose shards count into ``refs``, to which the references are added that it lacks."""
    for piece in pieces:
        ref = shards[piece.shard].ref
        if ref not in refs:
            refs.append(ref)
        yield Piece(refs.index(ref), piece.positions)
