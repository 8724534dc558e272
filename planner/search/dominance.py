"""Which rows of a table no other row makes superfluous."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_GREATEST_SCORE = 2**44
"""Up to which a column is scaled, so that the sum of all columns is exact."""


def undominated(points: Integers) -> Integers:
    """Rows that no other row undercuts or equals in every column, the first of equal rows kept.

    Parameters
    ----------
    points
        Shape (rows, columns); smaller is better in every column.

    Returns
    -------
    Row numbers in rising order.

    >>> undominated(np.array([[1, 3], [2, 3], [3, 1], [1, 3]])).tolist()
    [0, 2]
    """
    return undominated_in_groups(np.zeros(len(points), dtype=np.int64), list(points.T))


def undominated_in_groups(
    groups: Integers, columns: Sequence[Integers], *, ties: tuple[Integers, Integers] | None = None
) -> Integers:
    """The same of each group of rows by itself.

    Parameters
    ----------
    groups
        Number of each row's group.
    columns
        Each of as many entries as there are rows; smaller is better.
    ties
        A sum that rises with some of the columns, and what else has to be no greater where it is equal.

    Notes
    -----
    In the order of a sum that rises with every column, a row can only be dominated by an earlier one of its
    group. So the first row left of a group is always kept, and what it dominates is dropped at once; all
    groups take this step together.

    >>> undominated_in_groups(np.array([0, 1, 1]), [np.array([5, 5, 6]), np.array([5, 5, 5])]).tolist()
    [0, 1]
    """
    sums, others = ties or (groups, groups)
    order = np.lexsort((others, _scores(columns), groups))
    groups, columns = groups[order], [column[order] for column in (*columns, sums, others)]
    kept: list[Integers] = []
    while len(order):
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        kept.append(order[starts])
        counts = np.diff(starts, append=len(order))
        *plain, sums, others = columns
        is_better = np.zeros(len(order), dtype=np.bool_)
        for column in plain:
            is_better |= column < np.repeat(column[starts], counts)
        if ties:
            wins = sums == np.repeat(sums[starts], counts)
            is_better |= wins & (others < np.repeat(others[starts], counts))
        left = np.flatnonzero(is_better)
        order, groups = order[left], groups[left]
        columns = [column[left] for column in columns]
    return np.sort(np.concatenate(kept)) if kept else order


def _scores(columns: Sequence[Integers]) -> Integers:
    """A sum of all columns, each scaled to weigh about as much as the others."""
    scores: Integers = np.zeros(len(columns[0]) if columns else 0, dtype=np.int64)
    for column in columns:
        greatest = int(np.abs(column).max(initial=1))
        scores += column * max(1, _GREATEST_SCORE // greatest)
    return scores
