"""Whole numbers that may be arrays: quotients rounded up, multiples, tables by a small size."""

from collections.abc import Callable
from typing import Any

import numpy as np

Numbers = Any
"""A number, or an array that broadcasts with the others."""


def ceil_div(amount: Numbers, parts: Numbers) -> Numbers:
    """The quotient rounded up.

    >>> ceil_div(7, 2), ceil_div(np.array([8, 9]), 4).tolist()
    (4, [2, 3])
    """
    return -(-amount // parts)


def aligned(amount: Numbers, multiple: Numbers) -> Numbers:
    """The next multiple.

    >>> aligned(65, 64)
    128
    """
    return ceil_div(amount, multiple) * multiple


def by_size(function: Callable[[Numbers], Numbers], sizes: Numbers) -> Numbers:
    """A function of small positive whole numbers; of an array, through a table of all up to the greatest.

    >>> by_size(lambda size: 12 // size, np.array([2, 3, 2])).tolist()
    [6, 4, 6]
    """
    if np.ndim(sizes) == 0:
        return function(int(sizes))
    table = function(np.arange(1, int(np.max(sizes)) + 1))
    return np.broadcast_to(table, (int(np.max(sizes)),))[np.asarray(sizes) - 1]
