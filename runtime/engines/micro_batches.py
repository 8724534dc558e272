"""Rows of different lengths, cut into micro-batches."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class MicroBatch(NamedTuple):
    """Some rows, cut where the longest of them ends."""

    rows: list[int]
    length: int


def micro_batches(
    lengths: Sequence[int], *, rows: int, token_budget: int | None = None
) -> Iterator[MicroBatch]:
    """Every row once, the longest first, so that those of one micro-batch are about equally long.

    Parameters
    ----------
    rows
        The most in one micro-batch; not looked at where there is a budget.
    token_budget
        The most tokens in one, its padding included; a row longer than that is alone.

    >>> [batch.rows for batch in micro_batches([2, 9, 3, 4], rows=2)]
    [[1, 3], [2, 0]]
    >>> [batch.rows for batch in micro_batches([2, 9, 3, 4], rows=1, token_budget=8)]
    [[1], [3, 2], [0]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        longest = lengths[order[0]]
        count = rows if token_budget is None else max(1, token_budget // max(1, longest))
        yield MicroBatch(order[:count], longest)
        order = order[count:]
