"""Layouts of one model over the devices of its pool, and the rank groups that follow from them.

Ranks run tensor fastest, then context, pipeline and data (Megatron's ``order="tp-cp-ep-pp-dp"``), so that
the ranks of one training replica are consecutive, as the micro-DP groups of the 3D-HybridEngine need
(HybridFlow, section 5). Where experts are spread over ranks and there are pipeline stages, Megatron asserts
that the stages are outermost (``order="tp-cp-ep-dp-pp"``): ranks that share experts are then consecutive.
"""

import re
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field

from planner.domain.quantities import PositiveInt, Value

GroupKind = Literal["tensor", "context", "pipeline", "data"]
VOCABULARY_MULTIPLE = 64
"""vLLM pads the vocabulary to a multiple of this before it cuts it."""


class ParallelStrategy(Value):
    """Training or inference layout: pipeline p, tensor t and data d parallel sizes, and more where used."""

    pipeline: PositiveInt = 1
    tensor: PositiveInt = 1
    data: PositiveInt = 1
    context: PositiveInt = 1
    """Ranks that a sequence is cut over (ring attention); they multiply the devices."""
    expert: PositiveInt = 1
    """Ranks that experts are spread over; they are the data and context ranks and add no devices."""
    virtual: PositiveInt = 1
    """Model chunks of a rank in the interleaved pipeline schedule."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the short form; context, expert and virtual sizes follow when they are not 1.

        >>> ParallelStrategy.parse("p1t8d2").devices
        16
        >>> str(ParallelStrategy.parse("p2t2d4c2e4v3"))
        'p2t2d4c2e4v3'
        """
        match = re.fullmatch(r"p(\d+)t(\d+)d(\d+)(?:c(\d+))?(?:e(\d+))?(?:v(\d+))?", text)
        if match is None:
            raise ValueError(f"{text!r} is not a strategy such as 'p1t8d2' or 'p2t2d4c2e4v3'")
        names = ("pipeline", "tensor", "data", "context", "expert", "virtual")
        return cls(**dict(zip(names, (int(size or 1) for size in match.groups()), strict=True)))

    @property
    def model_parallel(self) -> int:
        """Devices of one replica, p t."""
        return self.pipeline * self.tensor

    @property
    def devices(self) -> int:
        return self.pipeline * self.tensor * self.context * self.data

    def __str__(self) -> str:
        further = (("c", self.context), ("e", self.expert), ("v", self.virtual))
        return f"p{self.pipeline}t{self.tensor}d{self.data}" + "".join(
            f"{letter}{size}" for letter, size in further if size > 1
        )


class GenerationStrategy(Value):
    """Generation layout on the same devices: p_g, t_g, and as many replicas as fill them."""

    pipeline: PositiveInt = 1
    tensor: PositiveInt = 1
    replicas: PositiveInt = 1
    max_sequences: PositiveInt
    """Sequences that one replica decodes at once; the rest wait."""
    cache_tokens: int | None = Field(default=None, ge=1, le=10**15, strict=True)
    """Tokens that one replica's paged cache holds; none for ``max_sequences`` of the greatest length."""

    @property
    def devices(self) -> int:
        return self.pipeline * self.tensor * self.replicas

    @property
    def layout(self) -> ParallelStrategy:
        """The layout of its weights, replicas as data-parallel ranks."""
        return ParallelStrategy(pipeline=self.pipeline, tensor=self.tensor, data=self.replicas)

    def __str__(self) -> str:
        return f"p{self.pipeline}t{self.tensor}x{self.replicas}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinates:
    """Where a rank stands in its layout."""

    pipeline: int
    tensor: int
    data: int
    context: int = 0


def has_stages_outermost(strategy: ParallelStrategy) -> bool:
    """Whether pipeline stages are the slowest dimension of the ranks instead of replicas."""
    return strategy.expert > 1 and strategy.pipeline > 1


def coordinates(strategy: ParallelStrategy, rank: int) -> Coordinates:
    """Coordinates of a rank."""
    rest, tensor = divmod(rank, strategy.tensor)
    rest, context = divmod(rest, strategy.context)
    if has_stages_outermost(strategy):
        pipeline, data = divmod(rest, strategy.data)
    else:
        data, pipeline = divmod(rest, strategy.pipeline)
    return Coordinates(pipeline=pipeline, tensor=tensor, data=data, context=context)


def rank_of(strategy: ParallelStrategy, at: Coordinates) -> int:
    """Rank at some coordinates, the inverse of `coordinates`."""
    if has_stages_outermost(strategy):
        replica = at.pipeline * strategy.data + at.data
    else:
        replica = at.data * strategy.pipeline + at.pipeline
    return (replica * strategy.context + at.context) * strategy.tensor + at.tensor


def expert_coordinate(strategy: ParallelStrategy, at: Coordinates) -> int:
    """Which of the e parts of a layer's experts the rank at some coordinates holds.

    Context and data ranks in this order, e at a time (Megatron-Core, ``parallel_state``).

    >>> layout = ParallelStrategy(data=4, expert=2)
    >>> [expert_coordinate(layout, coordinates(layout, rank)) for rank in range(4)]
    [0, 1, 0, 1]
    """
    return (at.data * strategy.context + at.context) % strategy.expert


def rank_groups(strategy: ParallelStrategy, kind: GroupKind) -> list[list[int]]:
    """Ranks that differ in one coordinate only, each group and the list of groups in rising order.

    >>> rank_groups(ParallelStrategy(tensor=2, data=2), "data")
    [[0, 2], [1, 3]]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for rank in range(strategy.devices):
        at = coordinates(strategy, rank)
        key = tuple(
            getattr(at, other) for other in ("pipeline", "context", "tensor", "data") if other != kind
        )
        groups.setdefault(key, []).append(rank)
    return sorted(groups.values())


def micro_replicas(train: ParallelStrategy, generate: GenerationStrategy) -> int:
    """d_g = p t / (p_g t_g): generation replicas inside one training replica (HybridFlow, section 5.1)."""
    return train.model_parallel // (generate.pipeline * generate.tensor)


def micro_data_groups(train: ParallelStrategy, generate: GenerationStrategy) -> list[list[int]]:
    """Ranks that gather each other's training shards into one generation shard (HybridFlow, section 5.3).

    Consecutive along the tensor and the pipeline dimension, so every rank's training shard lies inside
    its generation shard.

    >>> micro_data_groups(ParallelStrategy(tensor=4, data=2),
    ...                   GenerationStrategy(tensor=2, replicas=4, max_sequences=1))
    [[0, 1], [2, 3], [4, 5], [6, 7]]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for rank in range(train.devices):
        at = coordinates(train, rank)
        stage, _ = _generation_position(at.pipeline, train.pipeline, generate.pipeline)
        shard, _ = _generation_position(at.tensor, train.tensor, generate.tensor)
        groups.setdefault((at.data, at.context, stage, shard), []).append(rank)
    return sorted(groups.values())


def generation_tensor_groups(train: ParallelStrategy, generate: GenerationStrategy) -> list[list[int]]:
    """Ranks that together hold one generation stage, in shard order: strided by t / t_g.

    >>> generation_tensor_groups(ParallelStrategy(tensor=4, data=2),
    ...                          GenerationStrategy(tensor=2, replicas=4, max_sequences=1))
    [[0, 2], [1, 3], [4, 6], [5, 7]]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for rank in range(train.devices):
        at = coordinates(train, rank)
        _, part = _generation_position(at.tensor, train.tensor, generate.tensor)
        groups.setdefault((at.data, at.context, at.pipeline, part), []).append(rank)
    return sorted(groups.values())


def generation_shard(
    train: ParallelStrategy, generate: GenerationStrategy, rank: int
) -> tuple[int, int, int]:
    """(stage, tensor shard, replica) of a rank in generation; replicas of one training replica adjoin."""
    at = coordinates(train, rank)
    stage, stage_part = _generation_position(at.pipeline, train.pipeline, generate.pipeline)
    shard, shard_part = _generation_position(at.tensor, train.tensor, generate.tensor)
    micro = stage_part * (train.tensor // generate.tensor) + shard_part
    copy = at.data * train.context + at.context
    return stage, shard, copy * micro_replicas(train, generate) + micro


def _generation_position(index: int, size: int, generation_size: int) -> tuple[int, int]:
    """(generation coordinate, part inside the micro-DP group) of a training coordinate."""
    return divmod(index, size // generation_size)
