"""Transfer protocols: which samples each rank of a pool receives, and whose outputs make up the result.

Each protocol is a pair of pure functions over rank coordinates (HybridFlow, table 3). They speak of the
positions of samples in a batch only; the rows themselves travel between the processes, never through the
controller. No number of samples has to divide: a rank may have fewer than others, or none.
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

Positions = tuple[int, ...]
"""Of samples in a batch, in rising order."""


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
    """A pair of functions: `distribute` gives each rank its samples, `collect` names the ranks that answer.

    `distribute` takes the tokens of each sample. Where ``covers`` is true the collected ranks together have
    each sample once, so that their outputs, put at their samples' places, are the whole batch; otherwise the
    result is one output per collected rank.
    """

    name: str
    distribute: Callable[[Sequence[int], Ranks], tuple[Positions, ...]]
    collect: Callable[[Ranks], tuple[int, ...]]
    covers: bool


def split_rows(count: int, parts: int) -> tuple[range, ...]:
    """Consecutive pieces of ``range(count)`` whose lengths differ by at most one, longer ones first.

    >>> split_rows(5, 2)
    (range(0, 3), range(3, 5))
    """
    size, longer = divmod(count, parts)
    ends = accumulate((size + (part < longer) for part in range(parts)), initial=0)
    return tuple(range(start, end) for start, end in pairwise(ends))


def balanced(tokens: Sequence[int], parts: int) -> tuple[Positions, ...]:
    """Share samples out so that the parts' tokens are as equal as their numbers of samples allow.

    The longest sample first, each to the part that has the fewest tokens and may take one more (Graham,
    "Bounds on Multiprocessing Timing Anomalies", 1969): no part has more than one sample more than another.

    >>> balanced([9, 1, 1, 7], 2)
    ((0, 2), (1, 3))
    """
    size, longer = divmod(len(tokens), parts)
    shares: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for sample in sorted(range(len(tokens)), key=lambda sample: (-tokens[sample], sample)):
        is_open = [len(share) < size or (len(share) == size and longer > 0) for share in shares]
        part = min((part for part in range(parts) if is_open[part]), key=lambda part: (sums[part], part))
        longer -= len(shares[part]) == size
        shares[part].append(sample)
        sums[part] += tokens[sample]
    return tuple(tuple(sorted(share)) for share in shares)


def distribute_mini_batches(
    protocol: Protocol, tokens: Sequence[int], *, mini_batches: int, ranks: Ranks
) -> tuple[tuple[Positions, ...], ...]:
    """Positions of each rank in each mini-batch; which samples form one does not depend on the layout.

    >>> ranks = Ranks(layout=ParallelStrategy(data=2))
    >>> distribute_mini_batches(three_d_proto, [1] * 8, mini_batches=2, ranks=ranks)
    (((0, 2), (4, 6)), ((1, 3), (5, 7)))
    """
    columns = []
    for rows in split_rows(len(tokens), mini_batches):
        pieces = protocol.distribute(tokens[rows.start : rows.stop], ranks)
        columns.append([tuple(rows.start + position for position in piece) for piece in pieces])
    return tuple(zip(*columns, strict=True))


def in_groups(protocol: Protocol, samples: int, *, size: int, ranks: Ranks) -> tuple[Positions, ...]:
    """Positions of each rank where ``size`` samples in a row, those of a prompt, stay on one replica.

    >>> ranks = Ranks(layout=ParallelStrategy(data=2))
    >>> in_groups(three_d_proto, 6, size=2, ranks=ranks)
    ((0, 1, 4, 5), (2, 3))
    """
    groups = protocol.distribute([1] * (samples // size), ranks)
    return tuple(tuple(group * size + place for group in piece for place in range(size)) for piece in groups)


def _everything(tokens: Sequence[int], ranks: Ranks) -> tuple[Positions, ...]:
    return (tuple(range(len(tokens))),) * ranks.count


def _by_replica(tokens: Sequence[int], ranks: Ranks) -> tuple[Positions, ...]:
    pieces = balanced(tokens, ranks.layout.data)
    return tuple(pieces[coordinates(ranks.layout, rank).data] for rank in range(ranks.count))


def _by_generation_replica(tokens: Sequence[int], ranks: Ranks) -> tuple[Positions, ...]:
    shards = _generation_shards(ranks)
    pieces = split_rows(len(tokens), 1 + max(replica for _, _, replica in shards))
    return tuple(tuple(pieces[replica]) for _, _, replica in shards)


def _by_rank(tokens: Sequence[int], ranks: Ranks) -> tuple[Positions, ...]:
    return balanced(tokens, ranks.count)


def _in_order(tokens: Sequence[int], ranks: Ranks) -> tuple[Positions, ...]:
    return tuple(map(tuple, split_rows(len(tokens), ranks.count)))


def _every_rank(ranks: Ranks) -> tuple[int, ...]:
    return tuple(range(ranks.count))


def _rank_zero(ranks: Ranks) -> tuple[int, ...]:
    return (0,)


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


def _every_weight(ranks: Ranks) -> tuple[int, ...]:
    """Ranks that together hold each weight; of experts, those of one expert-parallel group."""
    layout = ranks.layout
    at = [coordinates(layout, rank) for rank in range(layout.devices)]
    return tuple(
        rank for rank, one in enumerate(at) if one.data * layout.context + one.context < layout.expert
    )


def _generation_shards(ranks: Ranks) -> Sequence[tuple[int, int, int]]:
    assert ranks.generate is not None, "only a role that generates has generation replicas"
    return [generation_shard(ranks.layout, ranks.generate, rank) for rank in range(ranks.count)]


one_to_all = Protocol(name="one_to_all", distribute=_everything, collect=_every_rank, covers=False)
"""The same input on every rank, all outputs: building and loading."""

rank_zero = Protocol(name="rank_zero", distribute=_everything, collect=_rank_zero, covers=True)
"""The same input on every rank, the first one answers: numeric calls and services."""

three_d_proto = Protocol(name="three_d_proto", distribute=_by_replica, collect=_last_stages, covers=True)
"""Split over data-parallel replicas by tokens; the last stage's first rank answers: training, inference."""

three_d_all_micro_dp = Protocol(
    name="three_d_all_micro_dp",
    distribute=_by_generation_replica,
    collect=_generation_leaders,
    covers=True,
)
"""Split over generation replicas, whose first rank answers: generation, whose lengths nobody knows yet."""

three_d_pp_only = Protocol(name="three_d_pp_only", distribute=_everything, collect=_every_stage, covers=False)
"""The same input on every rank, one output per pipeline stage: examining weights."""

three_d_weights = Protocol(
    name="three_d_weights", distribute=_everything, collect=_every_weight, covers=False
)
"""The same input on every rank, one output per shard of the weights: sending them to another pool."""

dp_proto = Protocol(name="dp_proto", distribute=_by_rank, collect=_every_rank, covers=True)
"""Split over all ranks, all answer: pure data parallelism."""

all_to_all = Protocol(name="all_to_all", distribute=_in_order, collect=_every_rank, covers=True)
"""The caller's list with one entry per rank goes through unchanged: debugging."""
