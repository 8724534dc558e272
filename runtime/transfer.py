"""Transfer protocols: which samples each rank of a pool receives, and whose outputs make up the result.

Each protocol is a pair of pure functions over rank coordinates (HybridFlow, table 3). They speak of row
numbers only; the rows themselves travel between the processes, never through the controller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from planner.domain.parallelism import (
    Coordinates,
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    generation_shard,
    rank_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The ranks of one role: its layout, and the generation layout of a role that generates."""

    layout: ParallelStrategy
    generate: GenerationStrategy | None = None

    @property
    def count(self) -> int:
        return self.layout.devices


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A pair of functions: `distribute` gives each rank its rows, `collect` names the ranks that answer.

    The outputs of the collected ranks, in their order, cover the rows in rising order where `concatenates`
    is true; otherwise they are a list with one output per collected rank.
    """

    name: str
    distribute: Callable[[int, Ranks], tuple[range, ...]]
    collect: Callable[[Ranks], tuple[int, ...]]
    concatenates: bool


def split_rows(count: int, parts: int) -> tuple[range, ...]:
    """Consecutive pieces of ``range(count)`` whose lengths differ by at most one, longer ones first.

    >>> split_rows(5, 2)
    (range(0, 3), range(3, 5))
    """
    size, longer = divmod(count, parts)
    ends = accumulate((size + (part < longer) for part in range(parts)), initial=0)
    return tuple(range(start, end) for start, end in pairwise(ends))


def distribute_mini_batches(
    protocol: Protocol, samples: int, *, mini_batches: int, ranks: Ranks
) -> tuple[tuple[range, ...], ...]:
    """Rows of each rank in each mini-batch; which samples form a mini-batch does not depend on the layout.

    >>> ranks = Ranks(layout=ParallelStrategy(data=2))
    >>> distribute_mini_batches(three_d_proto, 8, mini_batches=2, ranks=ranks)
    ((range(0, 2), range(4, 6)), (range(2, 4), range(6, 8)))
    """
    columns = []
    for rows in split_rows(samples, mini_batches):
        pieces = protocol.distribute(len(rows), ranks)
        columns.append([range(rows.start + piece.start, rows.start + piece.stop) for piece in pieces])
    return tuple(zip(*columns, strict=True))


def _everything(samples: int, ranks: Ranks) -> tuple[range, ...]:
    return (range(samples),) * ranks.count


def _by_replica(samples: int, ranks: Ranks) -> tuple[range, ...]:
    pieces = split_rows(samples, ranks.layout.data)
    return tuple(pieces[coordinates(ranks.layout, rank).data] for rank in range(ranks.count))


def _by_generation_replica(samples: int, ranks: Ranks) -> tuple[range, ...]:
    shards = _generation_shards(ranks)
    pieces = split_rows(samples, 1 + max(replica for _, _, replica in shards))
    return tuple(pieces[replica] for _, _, replica in shards)


def _by_rank(samples: int, ranks: Ranks) -> tuple[range, ...]:
    return split_rows(samples, ranks.count)


def _every_rank(ranks: Ranks) -> tuple[int, ...]:
    return tuple(range(ranks.count))


def _last_stages(ranks: Ranks) -> tuple[int, ...]:
    layout = ranks.layout
    last = layout.pipeline - 1
    return tuple(
        rank_of(layout, Coordinates(pipeline=last, tensor=0, data=data)) for data in range(layout.data)
    )


def _generation_leaders(ranks: Ranks) -> tuple[int, ...]:
    leaders = {
        replica: rank
        for rank, (stage, shard, replica) in enumerate(_generation_shards(ranks))
        if stage == shard == 0
    }
    return tuple(leaders[replica] for replica in sorted(leaders))


def _every_stage(ranks: Ranks) -> tuple[int, ...]:
    layout = ranks.layout
    return tuple(
        rank_of(layout, Coordinates(pipeline=stage, tensor=0, data=0)) for stage in range(layout.pipeline)
    )


def _generation_shards(ranks: Ranks) -> Sequence[tuple[int, int, int]]:
    assert ranks.generate is not None, "only a role that generates has generation replicas"
    return [generation_shard(ranks.layout, ranks.generate, rank) for rank in range(ranks.count)]


one_to_all = Protocol(name="one_to_all", distribute=_everything, collect=_every_rank, concatenates=False)
"""The same input on every rank, all outputs: building and loading."""

three_d_proto = Protocol(
    name="three_d_proto", distribute=_by_replica, collect=_last_stages, concatenates=True
)
"""Split over data-parallel replicas; the last stage's first rank answers: training and inference."""

three_d_all_micro_dp = Protocol(
    name="three_d_all_micro_dp",
    distribute=_by_generation_replica,
    collect=_generation_leaders,
    concatenates=True,
)
"""Split over generation replicas, whose first rank answers: generation."""

three_d_pp_only = Protocol(
    name="three_d_pp_only", distribute=_everything, collect=_every_stage, concatenates=False
)
"""The same input on every rank, one output per pipeline stage: examining weights."""

dp_proto = Protocol(name="dp_proto", distribute=_by_rank, collect=_every_rank, concatenates=True)
"""Split over all ranks, all answer: pure data parallelism."""

all_to_all = Protocol(name="all_to_all", distribute=_by_rank, collect=_every_rank, concatenates=True)
"""The caller's list with one entry per rank goes through unchanged: debugging."""
