"""How much longer the longest of many sequences waits for its answers than one does on average."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.costs.memory.rounding import Numbers

Floats = NDArray[np.float64]

_POINTS = 2000


def longest_excess(answers: int, sequences: Numbers) -> Numbers:
    """Expected longest of the sums of so many exponential waits over their mean, in waits of mean length.

    Each sum has Erlang's distribution (Kleinrock, "Queueing Systems", section 4.2); the largest of n
    independent ones has its n-th power (David, "Order Statistics", section 2.1).
    """
    counts, of = np.unique(sequences, return_inverse=True)
    found = np.array([_excess(answers, float(count)) for count in counts])
    return found[of].reshape(np.shape(sequences))[()]


@lru_cache(maxsize=4096)
def _excess(answers: int, sequences: float) -> float:
    width, below = _erlang(answers)
    return width * float(np.sum(1 - below**sequences)) - width * float(np.sum(1 - below))


@lru_cache(maxsize=16)
def _erlang(answers: int) -> tuple[float, Floats]:
    """(Width of a step, share of the sums below the middle of each), as far as any of 10^9 reaches."""
    width = (answers + 10 * math.sqrt(answers) + 60) / _POINTS
    at, waits = width * (np.arange(_POINTS) + 0.5), np.arange(answers)[:, None]
    factorials = np.array([[math.lgamma(count + 1)] for count in range(answers)])
    above = np.sum(np.exp(waits * np.log(at) - at - factorials), axis=0)
    return width, 1 - np.minimum(1.0, above)
