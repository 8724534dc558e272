"""Which rows of a table no other row makes superfluous."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

CHAMPIONS = 8
"""Rows of each group that all others of it are held against before what they dominate is dropped."""
_BITS = 62
"""Of what rows are sorted by: the number of their group, and the sum of their columns."""


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
    order = _sorted(groups, columns, ties)
    groups, columns = groups[order], [column[order] for column in columns]
    kept: list[Integers] = []
    while len(order):
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        counts = np.diff(starts, append=len(order))
        alive = np.ones(len(order), dtype=np.bool_)
        for number in range(min(CHAMPIONS, int(counts.max()))):
            champions = starts + np.minimum(number, counts - 1)
            kept.append(order[champions[alive[champions]]])
            alive &= _not_dominated(np.repeat(champions, counts), alive, order, columns, ties)
        left = np.flatnonzero(alive)
        order, groups = order[left], groups[left]
        columns = [column[left] for column in columns]
    return np.sort(np.concatenate(kept)) if kept else order


def _not_dominated(
    champions: Integers,
    alive: NDArray[np.bool_],
    order: Integers,
    columns: Sequence[Integers],
    ties: tuple[Integers, Integers] | None,
) -> NDArray[np.bool_]:
    """Whether rows are better in some column than the one of their group at these places, or win the tie."""
    is_better = np.zeros(len(order), dtype=np.bool_)
    for column in columns:
        is_better |= column < column[champions]
    if ties:
        sums, others = ties
        worse = np.flatnonzero(alive & ~is_better)
        own, best = order[worse], order[champions[worse]]
        is_better[worse] = (sums[own] == sums[best]) & (others[own] < others[best])
    return is_better


def _sorted(
    groups: Integers, columns: Sequence[Integers], ties: tuple[Integers, Integers] | None
) -> Integers:
    """Rows by group, then by a sum of all columns, then by what breaks ties, then by number."""
    if not len(groups):
        return groups
    others = ties[1] if ties else groups
    room = _BITS - int(groups.max()).bit_length() - len(columns).bit_length()
    scores = _scores(columns, 2**room)
    if int(scores.max()) >> (_BITS - int(groups.max()).bit_length()):
        order: Integers = np.lexsort((others, scores, groups))
        return order
    keys = scores + (groups << (_BITS - int(groups.max()).bit_length()))
    return _in_order_of_ties(np.argsort(keys), keys, others)


def _in_order_of_ties(order: Integers, keys: Integers, others: Integers) -> Integers:
    """Rows of equal keys in the order of something else, then of their numbers."""
    equal = np.flatnonzero(np.diff(keys[order]) == 0)
    if len(equal):
        places = np.union1d(equal, equal + 1)
        rows = order[places]
        order[places] = rows[np.lexsort((rows, others[rows], keys[rows]))]
    return order


def _scores(columns: Sequence[Integers], most: int) -> Integers:
    """A sum of all columns, each scaled up to weigh about as much as the others."""
    scores: Integers = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        greatest = max(1, int(column.max()))
        scores += column * max(1, most // greatest)
    return scores
