"""Which layers and weights each pipeline stage holds, and how many of them tensor parallelism cuts."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from planner.costs.rounding import Numbers, ceil_div
from planner.domain.model import Head, ModelSpec
from planner.domain.resharding import stage_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One pipeline stage: its layers and parameters."""

    layers: int
    split: int
    """Parameters that tensor parallelism cuts: matrices, their biases, embeddings; routed experts aside."""
    whole: int
    """Parameters that every rank of a tensor group holds: norms, compressions, routers, the scalar head."""
    experts: int
    """Parameters of all routed experts, which tensor and expert parallelism cut."""
    tied_copy: int
    """Parameters of the embedding's second copy, which a tied head needs on another stage."""
    has_head: bool

    def shard(self, tensor: int, *, expert: int = 1) -> int:
        """Parameters of the stage's own tensors on one rank of a tensor group."""
        return math.ceil(self.split / tensor) + math.ceil(self.experts / (expert * tensor)) + self.whole

    def trained_shard(self, tensor: int, *, expert: int = 1) -> int:
        """The same with the copy of a tied head."""
        return self.shard(tensor, expert=expert) + math.ceil(self.tied_copy / tensor)


@lru_cache(maxsize=4096)
def stages_of(model: ModelSpec, head: Head, count: int) -> tuple[Stage, ...]:
    """The stages of a model, its weights assigned as by `planner.domain.resharding.holds`."""
    ends = _begins(stage_layers(model.layers, count))
    tied = head == "vocabulary" and model.tied_embeddings and count > 1
    own_head = model.head_parameters(head)

    def stage(index: int, begin: int, layers: int) -> Stage:
        is_first, is_last = index == 0, index == count - 1
        dense = min(max(model.dense_layers - begin, 0), layers)
        experts = model.moe.experts * model.expert_parameters if model.moe else 0
        split_head = own_head if is_last and head == "vocabulary" else 0
        whole_ends = model.position_parameters if is_first else 0
        if is_last:
            whole_ends += model.norm_size + (own_head if head == "scalar" else 0)
        split, whole = _layer_parts(model, dense, layers - dense)
        return Stage(
            layers=layers,
            split=split + (model.embedding_parameters if is_first else 0) + split_head,
            whole=whole + whole_ends,
            experts=(layers - dense) * experts,
            tied_copy=model.embedding_parameters if tied and is_last else 0,
            has_head=is_last,
        )

    return tuple(stage(index, begin, layers) for index, (begin, layers) in enumerate(ends))


def layers_at(layers: int, *, pipeline: Numbers, virtual: Numbers, stage: Numbers) -> Numbers:
    """Layers of a stage, all of its chunks together; numbers or arrays that broadcast.

    The p v chunks are cut as `planner.domain.resharding.stage_layers` cuts; stage s holds the chunks s,
    s + p, s + 2 p, ... (Narayanan et al. 2104.04473, section 2.2).

    >>> [int(layers_at(61, pipeline=4, virtual=1, stage=stage)) for stage in range(4)]
    [16, 15, 15, 15]
    """
    size, longer = layers // (pipeline * virtual), layers % (pipeline * virtual)
    return virtual * size + np.clip(ceil_div(longer - stage, pipeline), 0, virtual)


def dense_layers_at(
    layers: int, dense: int, *, pipeline: Numbers, virtual: Numbers, stage: Numbers
) -> Numbers:
    """Of those, the ones among the model's first ``dense`` layers."""
    if dense >= layers:
        return layers_at(layers, pipeline=pipeline, virtual=virtual, stage=stage)
    size, longer = layers // (pipeline * virtual), layers % (pipeline * virtual)
    found: Numbers = 0
    for chunk in range(dense):  # later chunks begin behind the dense layers
        begin = chunk * size + np.minimum(chunk, longer)
        held = np.clip(dense - begin, 0, size + (chunk < longer))
        found = found + held * ((chunk % pipeline == stage) & (chunk < pipeline * virtual))
    return found


def fullest_stages(model: ModelSpec, *, pipeline: Numbers, virtual: Numbers) -> tuple[Numbers, ...]:
    """Stages of which one holds the most bytes, whatever is counted: the first, the last, two between.

    Stages in the middle keep fewer micro-batches the later they come and have no more layers than earlier
    ones, so that only those where experts begin can hold more than the first.
    """
    last = pipeline - 1
    if model.dense_layers in (0, model.layers):
        return 0, last
    size, longer = model.layers // (pipeline * virtual), model.layers % (pipeline * virtual)
    beyond = model.dense_layers - longer * (size + 1)
    begin = np.where(
        beyond <= 0, ceil_div(model.dense_layers, size + 1), longer + ceil_div(beyond, np.maximum(size, 1))
    )
    begin = np.minimum(begin, last)
    return 0, np.maximum(0, begin - 1), begin, last


def _begins(counts: list[int]) -> list[tuple[int, int]]:
    return [(sum(counts[:index]), count) for index, count in enumerate(counts)]


def _layer_parts(model: ModelSpec, dense: int, sparse: int) -> tuple[int, int]:
    """(Cut, whole) parameters of so many layers, routed experts aside."""
    latent = _compressions(model)
    whole_vectors = model.layer_vector_parameters - _cut_vectors(model)
    attention = model.attention_matrix_parameters - latent + _cut_vectors(model)
    cut = (dense + sparse) * attention
    cut += dense * model.mlp_parameters(model.ffn) + sparse * model.shared_expert_parameters
    whole = (dense + sparse) * (whole_vectors + latent) + sparse * model.router_parameters
    return cut, whole


def _cut_vectors(model: ModelSpec) -> int:
    """Biases of maps whose outputs are cut."""
    count = model.query_size + 2 * model.kv_size if model.has_qkv_bias else 0
    return count + ((2 if model.gated else 1) * model.ffn if model.has_linear_bias else 0)


def _compressions(model: ModelSpec) -> int:
    """Parameters of latent attention's compressing maps."""
    if model.mla is None:
        return 0
    return model.hidden * ((model.mla.query_rank or 0) + model.cached_size)
