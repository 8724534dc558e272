"""How sequences are cut over context-parallel ranks, and put together again.

A sequence is cut into 2 c chunks, of which rank r of c holds chunks r and 2 c - 1 - r, so that all ranks have
equally much causal attention to compute (Megatron-Core's and TransformerEngine's order).
"""

from math import lcm
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional

from planner.domain.parallelism import ParallelStrategy


def length_multiple(strategy: ParallelStrategy) -> int:
    """What the length of a batch must be a multiple of: chunks of equal length, which t ranks can cut again.

    >>> [length_multiple(ParallelStrategy(tensor=t, context=c)) for t, c in ((1, 1), (4, 1), (1, 2), (4, 2))]
    [1, 4, 4, 8]
    """
    if strategy.context == 1:
        return strategy.tensor
    return strategy.context * lcm(2, strategy.tensor)


def padded(rows_bs: torch.Tensor, multiple: int) -> torch.Tensor:
    """The rows with zeros at their ends, up to a multiple; causal attention never looks at them."""
    length = max(rows_bs.shape[1], 1)
    return functional.pad(rows_bs, (0, length + -length % multiple - rows_bs.shape[1]))


def own_part(rows_bs: torch.Tensor, rank: int, ranks: int) -> torch.Tensor:
    """The two chunks of each row that a context-parallel rank holds.

    >>> own_part(torch.arange(8)[None], 0, 2), own_part(torch.arange(8)[None], 1, 2)
    (tensor([[0, 1, 6, 7]]), tensor([[2, 3, 4, 5]]))
    """
    if ranks == 1:
        return rows_bs
    chunks = rows_bs.chunk(2 * ranks, dim=1)
    return torch.cat([chunks[rank], chunks[2 * ranks - 1 - rank]], dim=1)


def positions(length: int, rank: int, ranks: int, device: torch.device) -> torch.Tensor:
    """Positions, in the whole sequence, of the tokens that a rank holds."""
    return own_part(torch.arange(length, device=device)[None], rank, ranks)[0]


def whole(part_bs: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """The rows of all context-parallel ranks in their order, on each of them.

    What each rank computes from it is the same, so a gradient is handed back to the rank's own part alone:
    the sum over the ranks of the gradients of weights counts each token once.
    """
    return part_bs if group.size() == 1 else _Whole.apply(part_bs, group)


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, part_bs: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
        context.place = (group.rank(), group.size())
        parts = [torch.empty_like(part_bs) for _ in range(group.size())]
        dist.all_gather(parts, part_bs.contiguous(), group=group)
        halves = [part.chunk(2, dim=1) for part in parts]
        return torch.cat([first for first, _ in halves] + [second for _, second in reversed(halves)], dim=1)

    @staticmethod
    def backward(context: Any, gradient_bs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return own_part(gradient_bs, *context.place), None
