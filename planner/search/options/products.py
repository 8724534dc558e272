"""Options of a role that trains and generates: each training half with each generation half of its key."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.domain.cluster import NodePool
from planner.search.arrays import Integers
from planner.search.options.halves import Half
from planner.search.options.rows import taken


def product(training: Half, generation: Half, node_pool: NodePool) -> Half:
    """Every training half with the generation halves of its key that may matter beside it and fit.

    Beside a training half, of the generation halves whose transient bytes do not exceed its own only an
    undominated one in seconds matters. Where one call generates, that is the fastest. Its rows have the
    numbers of both (`whole`).

    Parameters
    ----------
    generation
        Sorted as by `fastest_first`.
    """
    one, other = matched(training, generation)
    peak = np.maximum(training.transient[one], generation.transient[other])
    useful = training.persistent[one] + peak <= node_pool.device.usable_memory
    if len(generation.call_us) == 1:
        useful &= _may_matter(training.transient[one], generation, other)
    return combined(training, generation, one[useful], other[useful])


def whole_product(training: Half, generation: Half) -> Half:
    """Every training half with every generation half of its key."""
    return whole(combined(training, generation, *matched(training, generation)), training, generation)


def whole(pairs: Half, training: Half, generation: Half) -> Half:
    """Pairs with the rows of both halves."""
    one, other = pairs.rows["training"], pairs.rows["generation"]
    return replace(pairs, rows={**taken(generation.rows, other), **taken(training.rows, one)})


def fastest_first(generation: Half) -> Half:
    """Sorted by key, and within each by seconds."""
    return generation.at(np.lexsort((*generation.call_us.values(), generation.rows["key"])))


def least_transient(generation: Half) -> Half:
    """Of each key the half of fewest bytes."""
    order = np.lexsort((generation.transient, generation.rows["key"]))
    keys = generation.rows["key"][order]
    return generation.at(order[np.flatnonzero(np.diff(keys, prepend=-1))])


def matched(training: Half, generation: Half) -> tuple[Integers, Integers]:
    """(Numbers of training halves, of generation halves) of all pairs of one key; the latter sorted by it."""
    own, keys = generation.rows["key"], training.rows["key"]
    first = np.searchsorted(own, keys)
    counts = np.searchsorted(own, keys, side="right") - first
    one = np.repeat(np.arange(len(training)), counts)
    other = np.arange(len(one)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    return one, other


def combined(training: Half, generation: Half, one: Integers, other: Integers) -> Half:
    """Pairs of halves by their numbers."""
    return Half(
        rows={"devices": training.rows["devices"][one], "training": one, "generation": other},
        call_us={**taken(training.call_us, one), **taken(generation.call_us, other)},
        persistent=training.persistent[one],
        transient=np.maximum(training.transient[one], generation.transient[other]),
        host=training.host[one],
    )


def _may_matter(transient: Integers, generation: Half, numbers: Integers) -> NDArray[np.bool_]:
    """Whether the next faster generation half of the key, if any, needs more than the training half.

    Undominated halves in the order of their seconds need less and less room.
    """
    is_first = np.diff(generation.rows["key"], prepend=-1) != 0
    before = np.where(is_first, np.iinfo(np.int64).max, np.roll(generation.transient, 1))
    matters: NDArray[np.bool_] = before[numbers] > transient
    return matters
