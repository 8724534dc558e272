"""The slice map of the 3D-HybridEngine: what each rank holds in training and needs in generation.

Computed once here; the planner costs its bytes, the runtime executes its copies (HybridFlow, section 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from planner.domain.model import PARAMETER_BYTES, Head, ModelSpec, Precision
from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    generation_shard,
    micro_data_groups,
)

Split = Literal["rows", "columns", "whole"]
"""How tensor parallelism cuts a matrix: by its first axis, by its second, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightTensor:
    """One weight under its Hugging Face name."""

    name: str
    shape: tuple[int, ...]
    split: Split
    layer: int | None
    """Layer it belongs to; none for the embedding (first stage), the last norm and the head (last stage)."""
    in_last_stage: bool = False

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


def weight_tensors(model: ModelSpec, head: Head = "vocabulary") -> Iterator[WeightTensor]:
    """All weights of a model in checkpoint order; a tied head is the embedding itself."""
    hidden, ffn = model.hidden, model.ffn
    yield WeightTensor(
        name="model.embed_tokens.weight", shape=(model.vocab, hidden), split="rows", layer=None
    )
    for layer in range(model.layers):
        prefix = f"model.layers.{layer}."
        matrices: list[tuple[str, tuple[int, ...], Split]] = [
            ("input_layernorm.weight", (hidden,), "whole"),
            ("self_attn.q_proj.weight", (model.query_size, hidden), "rows"),
            ("self_attn.k_proj.weight", (model.kv_size, hidden), "rows"),
            ("self_attn.v_proj.weight", (model.kv_size, hidden), "rows"),
            ("self_attn.o_proj.weight", (hidden, model.query_size), "columns"),
            ("post_attention_layernorm.weight", (hidden,), "whole"),
            ("mlp.gate_proj.weight", (ffn, hidden), "rows"),
            ("mlp.up_proj.weight", (ffn, hidden), "rows"),
            ("mlp.down_proj.weight", (hidden, ffn), "columns"),
        ]
        if model.has_qkv_bias:
            matrices += [
                ("self_attn.q_proj.bias", (model.query_size,), "rows"),
                ("self_attn.k_proj.bias", (model.kv_size,), "rows"),
                ("self_attn.v_proj.bias", (model.kv_size,), "rows"),
            ]
        if model.has_qk_norm:
            matrices += [
                ("self_attn.q_norm.weight", (model.head_dim,), "whole"),
                ("self_attn.k_norm.weight", (model.head_dim,), "whole"),
            ]
        for name, shape, split in matrices:
            yield WeightTensor(name=prefix + name, shape=shape, split=split, layer=layer)
    yield WeightTensor(
        name="model.norm.weight", shape=(hidden,), split="whole", layer=None, in_last_stage=True
    )
    if head == "scalar":
        yield WeightTensor(
            name="score.weight", shape=(1, hidden), split="whole", layer=None, in_last_stage=True
        )
    elif not model.tied_embeddings:
        yield WeightTensor(
            name="lm_head.weight", shape=(model.vocab, hidden), split="rows", layer=None, in_last_stage=True
        )


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
    counts = [0] * stages
    for layer in range(layers):
        counts[stage_of_layer(layer, layers, stages)] += 1
    return counts


def holds(tensor: WeightTensor, stage: int, stages: int, layers: int) -> bool:
    """Whether a pipeline stage holds the tensor."""
    if tensor.layer is not None:
        return stage_of_layer(tensor.layer, layers, stages) == stage
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
    received = generation = 0
    for tensor in weight_tensors(model):
        if not holds(tensor, stage, generate.pipeline, model.layers):
            continue
        size = tensor.elements * PARAMETER_BYTES[precision]
        needed = size if tensor.split == "whole" else size // generate.tensor
        own = size if tensor.split == "whole" else size // train.tensor
        generation += needed
        received += needed - (own if holds(tensor, at.pipeline, train.pipeline, model.layers) else 0)
    return ReshardVolume(received=received, generation=generation, redundant=0)


def gather_group(train: ParallelStrategy, generate: GenerationStrategy, rank: int) -> list[int]:
    """The micro-DP group of a rank: the only ranks that it exchanges weights with."""
    return next(group for group in micro_data_groups(train, generate) if rank in group)
