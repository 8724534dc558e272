"""Which rows of a table no other row makes superfluous."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from planner.search.arrays import Booleans, Integers

Ranks = NDArray[np.int32]

Ties = tuple[Integers, Integers]
"""A sum that rises with some columns, and what else has to be no greater where it is equal."""

CHAMPIONS = 8
"""Rows of each group that all others of it are held against before what they dominate is dropped."""
PAIRS = 200_000
"""Pairs of rows up to which all are compared at once."""
LARGE = 65536
"""Rows of a group that is pruned by itself, its halves first."""
LEAF = 8192
"""Rows of a part that is not halved again."""
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
    groups: Integers, columns: Sequence[Integers], *, ties: Ties | None = None
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
    columns = _telling(columns)
    order = _sorted(groups, columns, ties)
    is_large = np.bincount(groups)[groups[order]] > LARGE if len(order) else np.zeros(0, dtype=np.bool_)
    kept = [_together(order[~is_large], groups, columns, ties)]
    large = order[is_large]
    starts = np.flatnonzero(np.diff(groups[large], prepend=-1))
    kept += [_by_halves(rows, groups, columns, ties) for rows in np.split(large, starts[1:]) if len(rows)]
    return np.sort(np.concatenate(kept))


def _telling(columns: Sequence[Integers]) -> Sequence[Integers]:
    """Of the columns those that tell rows apart, equal ones once; at least one."""
    varied = (column for column in columns if len(column) and column.min() < column.max())
    distinct = {column.tobytes(): column for column in varied}
    return list(distinct.values()) or columns[:1]


def _together(order: Integers, groups: Integers, columns: Sequence[Integers], ties: Ties | None) -> Integers:
    """Of sorted rows those that are undominated in their group, all groups step by step."""
    groups = groups[order]
    ranks: list[Integers | Ranks] = [column[order] for column in columns]
    kept: list[Integers] = [order[:0]]
    while len(order):
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        counts = np.diff(starts, append=len(order))
        if len(counts) * int(counts.max()) ** 2 <= PAIRS:
            kept.append(_unbeaten(order, starts, counts, ranks, ties))
            break
        alive = np.ones(len(order), dtype=np.bool_)
        for number in range(min(CHAMPIONS, int(counts.max()))):
            champions = starts + np.minimum(number, counts - 1)
            kept.append(order[champions[alive[champions]]])
            is_better = np.zeros(len(order), dtype=np.bool_)
            for rank in ranks:
                is_better |= rank < np.repeat(rank[champions], counts)
            if ties:
                worse = np.flatnonzero(alive & ~is_better)
                is_better[worse] = _wins(ties, order[worse], np.repeat(order[champions], counts)[worse])
            alive &= is_better
        left = np.flatnonzero(alive)
        order, groups = order[left], groups[left]
        ranks = [_ranked(rank[left]) for rank in ranks]
    return np.concatenate(kept)


def _unbeaten(
    order: Integers,
    starts: Integers,
    counts: Integers,
    ranks: Sequence[Integers | Ranks],
    ties: Ties | None,
) -> Integers:
    """Of sorted rows those that no earlier one of their group dominates, each held against each."""
    width = int(counts.max())
    is_row = np.arange(width) < counts[:, None]
    at = np.where(is_row, starts[:, None] + np.arange(width), 0)
    beats = is_row[:, :, None] & is_row[:, None, :] & np.triu(np.ones((width, width), dtype=np.bool_), 1)
    for rank in ranks:
        own = rank[at]
        beats &= own[:, :, None] <= own[:, None, :]
    if ties:
        sums, others = (column[order][at] for column in ties)
        beats &= (sums[:, :, None] != sums[:, None, :]) | (others[:, :, None] <= others[:, None, :])
    unbeaten: Integers = order[at[is_row & ~beats.any(axis=1)]]
    return unbeaten


def _ranked(column: Integers | Ranks) -> Integers | Ranks:
    """The same order in half the bytes, which comparisons are made of: the values, or their ranks."""
    if column.dtype == np.int32 or not len(column):
        return column
    if max(int(column.max()), -int(column.min())) > np.iinfo(np.int32).max:
        column = np.unique(column, return_inverse=True)[1]
    return column.astype(np.int32)


def _by_halves(order: Integers, groups: Integers, columns: Sequence[Integers], ties: Ties | None) -> Integers:
    """Of sorted rows of one group those that are undominated.

    Those of the first half are, and those of the second are that none of these dominates (Kung et al. 1975,
    "On finding the maxima of a set of vectors").
    """
    if len(order) <= LEAF:
        return _together(order, groups, columns, ties)
    middle = len(order) // 2
    first = _by_halves(order[:middle], groups, columns, ties)
    second = _by_halves(order[middle:], groups, columns, ties)
    return np.concatenate([first, _undefeated(second, first, columns, ties)])


def _undefeated(
    rows: Integers, champions: Integers, columns: Sequence[Integers], ties: Ties | None
) -> Integers:
    """Of some rows those that none of the champions dominates."""
    own = [column[rows] for column in columns]
    best = [column[champions] for column in columns]
    for begin in range(0, len(champions), CHAMPIONS):
        alive = np.ones(len(rows), dtype=np.bool_)
        for number in range(begin, min(begin + CHAMPIONS, len(champions))):
            is_better = np.zeros(len(rows), dtype=np.bool_)
            for column, least in zip(own, best, strict=True):
                is_better |= column < least[number]
            if ties:
                worse = np.flatnonzero(alive & ~is_better)
                is_better[worse] = _wins(ties, rows[worse], champions[number])
            alive &= is_better
        left = np.flatnonzero(alive)
        rows, own = rows[left], [column[left] for column in own]
    return rows


def _wins(ties: Ties, rows: Integers, champions: Integers | np.int64) -> Booleans:
    """Whether rows as good as a champion come before it."""
    sums, others = ties
    wins: Booleans = (sums[rows] == sums[champions]) & (others[rows] < others[champions])
    return wins


def _sorted(groups: Integers, columns: Sequence[Integers], ties: Ties | None) -> Integers:
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
