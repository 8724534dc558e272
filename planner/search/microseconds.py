"""Seconds as the whole numbers that solvers count in."""

import math

import numpy as np

from planner.costs.arrays.table import Floats
from planner.errors import SpecError
from planner.search.arrays import Integers
from planner.units import MICROSECOND

LONGEST_CALL_S = 1e8
"""Three years."""


def microseconds(seconds: float) -> int:
    """Whole microseconds, rounded up.

    >>> microseconds(0.0000012)
    2

    Raises
    ------
    SpecError
        A call that lasts for decades is a mistake of the scenario, and more than the solvers can count.
    """
    _refuse_decades(seconds)
    return math.ceil(seconds / MICROSECOND)


def whole_microseconds(seconds: Floats) -> Integers:
    """The same of many calls."""
    if len(seconds):
        _refuse_decades(float(seconds.max()))
    us: Integers = np.ceil(seconds / MICROSECOND).astype(np.int64)
    return us


def _refuse_decades(seconds: float) -> None:
    if not seconds < LONGEST_CALL_S:
        raise SpecError(
            f"workload: one call would take {seconds:.3g} s, more than {LONGEST_CALL_S:.0e} s; "
            "reduce prompts, tokens or epochs"
        )
