"""The slice map of the 3D-HybridEngine: what each rank holds in training and needs in generation.

Computed once here; the planner costs its bytes, the runtime executes its copies (HybridFlow, section 5).
"""

from dataclasses import dataclass
from functools import partial

from planner.domain.model import PARAMETER_BYTES, ModelSpec, Precision
from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    generation_shard,
)
from planner.domain.weights import WeightTensor, weight_tensors


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardVolume:
    """Bytes of one weight sync on one rank."""

    received: int
    """From the other ranks of its micro-DP group."""
    generation: int
    """Its whole generation shard."""
    redundant: int
    """Training weights held beside the generation shard because they do not lie inside it."""


def reshard_volume(
    model: ModelSpec,
    train: ParallelStrategy,
    generate: GenerationStrategy,
    *,
    rank: int,
    precision: Precision,
) -> ReshardVolume:
    """Bytes that one rank receives when training weights become generation weights.

    A rank holds 1/t of each split tensor of its own stage and needs 1/t_g of each tensor of its generation
    stage; whole tensors of stages that it does not train travel once.
    """
    at = coordinates(train, rank)
    stage, _, _ = generation_shard(train, generate, rank)
    in_stage = partial(
        holds, stage=at.pipeline, stages=train.pipeline, layers=model.layers, virtual=train.virtual
    )
    received = generation = 0
    for tensor in weight_tensors(model):
        if not holds(tensor, stage, generate.pipeline, model.layers):
            continue
        size = tensor.elements * PARAMETER_BYTES[precision]
        needed = size if tensor.split == "whole" else size // generate.tensor
        own = size if tensor.split == "whole" else size // train.tensor
        generation += needed
        received += needed - (own if in_stage(tensor) else 0)
    return ReshardVolume(received=received, generation=generation, redundant=0)
