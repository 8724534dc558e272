"""Weights in buckets, each of which one collective moves."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import zip_longest

from planner.domain.resharding import Piece
from planner.domain.weights import WeightTensor

HandedOut = Mapping[int, Piece]
"""By rank."""


def buckets(handed_out: Mapping[WeightTensor, HandedOut], *, elements: int) -> list[list[WeightTensor]]:
    """Tensors in their order, cut into buckets of about so many elements, each tensor in one.

    A bucket takes as much of one set of owners as of another, so that all of them send at once.
    """
    queues: dict[Hashable, list[WeightTensor]] = {}
    for tensor, given in handed_out.items():
        queues.setdefault(tuple(given), []).append(tensor)
    share = elements // max(1, len(queues))
    sizes = {tensor: sum(piece.elements for piece in given.values()) for tensor, given in handed_out.items()}
    order = {tensor: index for index, tensor in enumerate(handed_out)}
    rows = zip_longest(*(_runs(queue, sizes, share) for queue in queues.values()), fillvalue=())
    return [sorted((tensor for run in row for tensor in run), key=order.__getitem__) for row in rows]


def _runs(
    tensors: Iterable[WeightTensor], sizes: Mapping[WeightTensor, int], limit: int
) -> list[Sequence[WeightTensor]]:
    """Consecutive tensors that together don't exceed the limit; one that does by itself is alone."""
    runs: list[list[WeightTensor]] = []
    filled = 0
    for tensor in tensors:
        if not runs or filled + sizes[tensor] > limit:
            runs.append([])
            filled = 0
        runs[-1].append(tensor)
        filled += sizes[tensor]
    return list(runs)
