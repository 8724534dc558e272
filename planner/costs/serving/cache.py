"""Tokens that a paged cache must hold, and sequences that it has room for.

A cache that holds every running sequence at its greatest length is never full; one for the total that is
expected of them is smaller and hardly ever full, since their sum scatters little (Kwon et al. 2309.06180,
section 4.5).
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.memory.generation_memory import BLOCK_TOKENS
from planner.costs.memory.rounding import Numbers
from planner.domain.lengths import TokenLengths
from planner.domain.workload import Workload

DEVIATIONS = 3.0
"""Standard deviations of the running sequences' total above its expectation that a cache is offered with."""
_STEPS = 128
"""In which ages are counted."""
_MEANS = 6
"""Mean responses for which they are, unless the longest one is shorter; mean ages rise no more then."""


def cache_tokens_for(workload: Workload, sequences: Numbers) -> Numbers:
    """Tokens that so many running sequences hold at their expected peak, and three deviations more.

    Parameters
    ----------
    sequences
        That run at once; an array of any shape.
    """
    mean, variance = running_tokens(workload)
    count = np.asarray(sequences, dtype=np.float64)
    return np.ceil(count * mean + DEVIATIONS * np.sqrt(count * variance)).astype(np.int64)[()]


def sequences_held(workload: Workload, cache_tokens: Numbers) -> Numbers:
    """Sequences that a cache has room for on average when they hold most; at least one."""
    mean, _ = running_tokens(workload)
    return np.maximum(1, np.floor(np.asarray(cache_tokens) / mean))[()]


@lru_cache(maxsize=256)
def running_tokens(workload: Workload) -> tuple[float, float]:
    """(Mean, variance) of the tokens of one running sequence when they are most.

    Each place runs sequences one after the other, all places from the same moment on, as if the queue never
    ran empty: a renewal process whose age is the running response's length (Ross, "Introduction to
    Probability Models", section 7.5). Half a block of each sequence is empty on average.
    """
    prompt, response = workload.prompt_tokens, workload.response_tokens
    age, squares = _ages(response)
    peak = int(np.argmax(age))
    longest = -(-workload.maximum_tokens // BLOCK_TOKENS) * BLOCK_TOKENS
    mean = prompt.mean + workload.answer_tokens + response.maximum * float(age[peak]) + BLOCK_TOKENS / 2
    spread = response.maximum**2 * float(squares[peak] - age[peak] ** 2)
    return min(mean, float(longest)), max(0.0, spread) + prompt.variance


def _ages(response: TokenLengths) -> tuple[NDArray[Any], NDArray[Any]]:
    """(Mean, mean square) of the age over the longest response, at the end of each of the steps."""
    ends = min(1.0, _MEANS * response.mean / response.maximum) * np.arange(_STEPS + 1) / _STEPS
    survival = response.survival(ends * response.maximum)
    ending = survival[:-1] - survival[1:]
    begun: NDArray[np.float64] = np.zeros(_STEPS)
    begun[0] = 1.0
    for step in range(1, _STEPS):
        begun[step] = begun[:step] @ ending[:step][::-1]
    mean = np.convolve(begun, survival[:-1] * ends[1:])[:_STEPS]
    return mean, np.convolve(begun, survival[:-1] * ends[1:] ** 2)[:_STEPS]
