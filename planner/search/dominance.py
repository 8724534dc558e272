"""Which rows of a table no other row makes superfluous."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def undominated(points: Integers) -> Integers:
    """Rows that no other row undercuts or equals in every column, the first of equal rows kept.

    Parameters
    ----------
    points
        Shape (rows, columns); smaller is better in every column.

    Returns
    -------
    Row numbers in rising order.

    Notes
    -----
    In the order of their sums a row can only be dominated by an earlier one, so the first row left is always
    kept, and what it dominates is dropped at once.

    >>> undominated(np.array([[1, 3], [2, 3], [3, 1], [1, 3]])).tolist()
    [0, 2]
    """
    left = np.argsort(points.sum(axis=1), kind="stable")
    kept: list[int] = []
    while left.size:
        kept.append(int(left[0]))
        left = left[(points[left] < points[left[0]]).any(axis=1)]
    return np.array(sorted(kept), dtype=np.int64)
