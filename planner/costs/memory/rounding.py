"""Numbers that may be arrays: quotients rounded up, multiples, the greater of two, tables by small sizes.

Plain numbers stay plain Python numbers, which is both exact and an order of magnitude faster than numpy's.
Whole numbers in arrays are exact below 2**52.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Numbers = Any
"""A number, or an array that broadcasts with the others."""


def are_plain(*values: Numbers) -> bool:
    """Whether none of the values is an array."""
    return not any(isinstance(value, np.ndarray) for value in values)


def ceil_div(amount: Numbers, parts: Numbers) -> Numbers:
    """The quotient rounded up.

    >>> ceil_div(7, 2), ceil_div(np.array([8, 9]), 4).tolist()
    (4, [2.0, 3.0])
    """
    return -(-amount // parts) if are_plain(amount, parts) else np.ceil(amount / parts)


def aligned(amount: Numbers, multiple: Numbers) -> Numbers:
    """The next multiple.

    >>> aligned(65, 64)
    128
    """
    return ceil_div(amount, multiple) * multiple


def greater(one: Numbers, other: Numbers) -> Numbers:
    """The greater of two numbers.

    >>> greater(2, 3), greater(np.array([1, 5]), 3).tolist()
    (3, [3, 5])
    """
    return max(one, other) if are_plain(one, other) else np.maximum(one, other)


def lesser(one: Numbers, other: Numbers) -> Numbers:
    """The lesser of two numbers."""
    return min(one, other) if are_plain(one, other) else np.minimum(one, other)


def choose(condition: Numbers, one: Numbers, other: Numbers) -> Numbers:
    """One where the condition holds, the other elsewhere.

    >>> choose(True, 1, 2), choose(np.array([True, False]), 1, 2).tolist()
    (1, [1, 2])
    """
    if are_plain(condition):
        return one if condition else other
    return np.where(condition, one, other)


def by_size(function: Callable[[Numbers], Numbers], sizes: Numbers) -> Numbers:
    """A function of small positive whole numbers; of an array, through a table of all up to the greatest.

    >>> by_size(lambda size: 12 // size, np.array([2, 3, 2])).tolist()
    [6, 4, 6]
    """
    if are_plain(sizes):
        return function(sizes)
    count = int(sizes.max())
    table = function(np.arange(1, count + 1))
    return np.take(np.broadcast_to(table, (count,)), sizes - 1)
