"""Which ranks gather each other's weights for generation.

The 3D-HybridEngine gathers inside micro-DP groups, so that every rank's training part lies inside its
generation shard (HybridFlow, section 5.3). The other groupings are there to be compared with it.
"""

from collections.abc import Hashable
from typing import Literal

from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    generation_shard,
    micro_replicas,
)
from planner.domain.weights import WeightTensor

Grouping = Literal["zero-redundancy", "vanilla", "full"]
"""Micro-DP groups of strided generation groups; whole training replicas, whose generation groups are
consecutive ranks (HybridFlow-V); all ranks of the pool, each handing out what it would hold if data-parallel
ranks shared the weights as well (DeepSpeed-Chat)."""
Kind = Literal["whole", "split", "expert"]
"""Of tensors that are gathered alike: those that all tensor ranks hold, those that they cut, those of routed
experts, which other replicas may hold."""


def generation_place(
    train: ParallelStrategy, generate: GenerationStrategy, rank: int, grouping: Grouping
) -> tuple[int, int, int]:
    """(stage, tensor shard, replica) of a rank in generation.

    >>> train = ParallelStrategy(tensor=4)
    >>> generate = GenerationStrategy(tensor=2, replicas=2, max_sequences=1)
    >>> [generation_place(train, generate, rank, "zero-redundancy")[1] for rank in range(4)]
    [0, 0, 1, 1]
    >>> [generation_place(train, generate, rank, "vanilla")[1] for rank in range(4)]
    [0, 1, 0, 1]
    """
    if grouping == "zero-redundancy":
        return generation_shard(train, generate, rank)
    at = coordinates(train, rank)
    micro = micro_replicas(train, generate)
    consecutive = ParallelStrategy(pipeline=generate.pipeline, tensor=generate.tensor, data=micro)
    place = coordinates(consecutive, at.pipeline * train.tensor + at.tensor)
    copy = at.data * train.context + at.context
    return place.pipeline, place.tensor, copy * micro + place.data


def generation_groups(
    train: ParallelStrategy, generate: GenerationStrategy, grouping: Grouping
) -> list[list[int]]:
    """Ranks that together hold one generation stage, in shard order."""
    groups: dict[tuple[int, int], dict[int, int]] = {}
    for rank in range(train.devices):
        stage, shard, replica = generation_place(train, generate, rank, grouping)
        groups.setdefault((replica, stage), {})[shard] = rank
    return sorted([ranks[shard] for shard in sorted(ranks)] for ranks in groups.values())


def gather_groups(
    train: ParallelStrategy, generate: GenerationStrategy, grouping: Grouping, kind: Kind
) -> list[list[int]]:
    """Ranks that gather tensors of a kind from each other.

    >>> generate = GenerationStrategy(tensor=2, replicas=4, max_sequences=1)
    >>> gather_groups(ParallelStrategy(tensor=4, data=2), generate, "zero-redundancy", "split")
    [[0, 1], [2, 3], [4, 5], [6, 7]]
    """
    groups: dict[Hashable, list[int]] = {}
    for rank in range(train.devices):
        groups.setdefault(_scope(train, generate, rank, grouping, kind), []).append(rank)
    return sorted(groups.values())


def _scope(
    train: ParallelStrategy, generate: GenerationStrategy, rank: int, grouping: Grouping, kind: Kind
) -> Hashable:
    """What the ranks of one group have in common."""
    if grouping == "full":
        return ()
    at = coordinates(train, rank)
    copy = at.data * train.context + at.context
    replica = copy // train.expert if kind == "expert" else copy
    tensor = at.tensor if kind == "whole" else None
    if grouping == "vanilla":
        return replica, tensor
    return replica, tensor, *generation_shard(train, generate, rank)[:2]


def kind_of(tensor: WeightTensor) -> Kind:
    """How a tensor is gathered."""
    if tensor.is_expert:
        return "expert"
    return "whole" if tensor.split == "whole" else "split"
