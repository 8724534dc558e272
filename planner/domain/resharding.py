"""The slice map of the 3D-HybridEngine: what each rank holds in training and needs in generation.

Computed once here; the planner costs its bytes, the runtime executes its copies (HybridFlow, section 5).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.domain.grouping import Grouping, generation_place
from planner.domain.model import PARAMETER_BYTES, ModelSpec, Precision
from planner.domain.parallelism import (
    Coordinates,
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    expert_coordinate,
)
from planner.domain.weights import WeightTensor, weight_tensors

_EXPERT = re.compile(r"\.experts\.(\d+)\.")


def stage_of_layer(layer: int, layers: int, stages: int) -> int:
    """Pipeline stage of a layer: the first ``layers % stages`` stages hold one layer more.

    >>> [stage_of_layer(layer, 5, 2) for layer in range(5)]
    [0, 0, 0, 1, 1]
    """
    size, longer = divmod(layers, stages)
    boundary = longer * (size + 1)
    return layer // (size + 1) if layer < boundary else longer + (layer - boundary) // size


def stage_layers(layers: int, stages: int) -> list[int]:
    """Layers of each stage.

    >>> stage_layers(5, 2)
    [3, 2]
    """
    size, longer = divmod(layers, stages)
    return [size + 1] * longer + [size] * (stages - longer)


def holds(tensor: WeightTensor, stage: int, stages: int, layers: int, *, virtual: int = 1) -> bool:
    """Whether a pipeline stage holds the tensor; of ``virtual`` chunks it holds every ``stages``-th."""
    if tensor.layer is not None:
        return stage_of_layer(tensor.layer, layers, stages * virtual) % stages == stage
    return stage == (stages - 1 if tensor.in_last_stage else 0)


def is_held(tensor: WeightTensor, model: ModelSpec, train: ParallelStrategy, at: Coordinates) -> bool:
    """Whether the rank at some coordinates trains its part of a tensor; a tied head's copy is not counted."""
    if not holds(tensor, at.pipeline, train.pipeline, model.layers, virtual=train.virtual):
        return False
    if not tensor.is_expert or train.expert == 1:
        return True
    assert model.moe is not None, "experts belong to a model that has them"
    expert = int(_EXPERT.findall(tensor.name)[0])
    return expert_coordinate(train, at) == expert * train.expert // model.moe.experts


@dataclass(frozen=True, slots=True)
class Piece:
    """What one rank hands out of a tensor: elements of its training part, flattened."""

    part: int
    """Which of the parts that tensor parallelism cuts."""
    start: int
    stop: int

    @property
    def elements(self) -> int:
        return self.stop - self.start


def pieces(
    tensor: WeightTensor, model: ModelSpec, train: ParallelStrategy, group: Mapping[int, Coordinates]
) -> dict[int, Piece]:
    """What each rank of a group hands out; those that hold the same part share it out among them."""
    is_whole = tensor.split == "whole"
    elements = tensor.elements if is_whole else tensor.elements // train.tensor
    holders: dict[int, list[int]] = {}
    for rank, at in group.items():
        if is_held(tensor, model, train, at):
            holders.setdefault(0 if is_whole else at.tensor, []).append(rank)
    return {
        rank: Piece(part, index * elements // len(ranks), (index + 1) * elements // len(ranks))
        for part, ranks in holders.items()
        for index, rank in enumerate(ranks)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardVolume:
    """Bytes of one weight sync on one rank."""

    received: int
    """From the other ranks of its group."""
    generation: int
    """Its whole generation shard."""
    gathered: int
    """All that it has once it has gathered: the generation shard, or where it gathers more, all weights."""
    redundant: int
    """Training weights held beside what is gathered because they do not lie inside its generation shard."""


def reshard_volume(
    model: ModelSpec,
    train: ParallelStrategy,
    generate: GenerationStrategy,
    *,
    rank: int,
    precision: Precision,
    grouping: Grouping = "zero-redundancy",
) -> ReshardVolume:
    """Bytes that one rank receives when training weights become generation weights.

    A rank holds 1/t of each split tensor of its own stage and needs 1/t_g of each tensor of its generation
    stage; whole tensors of stages that it does not train travel once.
    """
    at = coordinates(train, rank)
    others = range(train.devices) if grouping == "full" else ()
    everyone = {other: coordinates(train, other) for other in others}
    stage, shard, _ = generation_place(train, generate, rank, grouping)
    shares = train.tensor // generate.tensor
    received = generation = gathered = redundant = 0
    for tensor in weight_tensors(model):
        size = tensor.elements * PARAMETER_BYTES[precision]
        is_whole, is_needed = tensor.split == "whole", holds(tensor, stage, generate.pipeline, model.layers)
        needed = (size if is_whole else size // generate.tensor) if is_needed else 0
        held = (size if is_whole else size // train.tensor) if is_held(tensor, model, train, at) else 0
        if grouping == "full":
            given = pieces(tensor, model, train, everyone).get(rank)
            held = given.elements * PARAMETER_BYTES[precision] if given else 0
        is_inside = is_needed and grouping != "full" and (is_whole or at.tensor // shares == shard)
        whole = needed if grouping == "zero-redundancy" else size
        received += whole - held if whole else 0
        generation += needed
        gathered += whole
        redundant += 0 if is_inside else held
    return ReshardVolume(received=received, generation=generation, gathered=gathered, redundant=redundant)
