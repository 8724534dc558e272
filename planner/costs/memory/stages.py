"""Which layers and weights each pipeline stage holds, and how many of them tensor parallelism cuts."""

import math
from dataclasses import dataclass
from functools import lru_cache

from planner.costs.memory.rounding import Numbers, by_size, ceil_div, choose, greater, lesser
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


@lru_cache(maxsize=4096)
def kinds_of_stages(model: ModelSpec, head: Head, count: int) -> tuple[Stage, ...]:
    """The stages that differ."""
    return tuple(dict.fromkeys(stages_of(model, head, count)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Layers of one stage, all of its chunks together; numbers or arrays."""

    dense: Numbers
    sparse: Numbers
    """Those with routed experts."""


def layers_at(model: ModelSpec, *, pipeline: Numbers, virtual: Numbers, stage: Numbers) -> Layers:
    """Layers of a stage.

    The p v chunks are cut as `planner.domain.resharding.stage_layers` cuts; stage s holds the chunks s,
    s + p, s + 2 p, ... (Narayanan et al. 2104.04473, section 2.2).

    >>> from planner.domain.catalog import read_model
    >>> model = read_model("deepseek-v3")
    >>> first = layers_at(model, pipeline=4, virtual=1, stage=0)
    >>> first.dense, first.sparse
    (3, 13)
    """
    chunks = pipeline * virtual
    size = by_size(lambda count: model.layers // count, chunks)
    longer = model.layers - size * chunks
    held = virtual * size + lesser(greater(ceil_div(longer - stage, pipeline), 0), virtual)
    if model.moe is None:
        return Layers(dense=held, sparse=0)
    dense = _dense_layers_at(model.dense_layers, size, longer, pipeline, chunks, stage)
    return Layers(dense=dense, sparse=held - dense)


def _dense_layers_at(
    dense: int, size: Numbers, longer: Numbers, pipeline: Numbers, chunks: Numbers, stage: Numbers
) -> Numbers:
    """Of a stage's layers, those among the model's first ``dense``."""
    found: Numbers = 0
    for chunk in range(dense):  # later chunks begin behind the dense layers
        begin = chunk * size + lesser(longer, chunk)
        held = lesser(greater(dense - begin, 0), size + (longer > chunk))
        found = found + held * ((chunk % pipeline == stage) & (chunks > chunk))
    return found


def fullest_stages(model: ModelSpec, *, pipeline: Numbers, virtual: Numbers) -> tuple[Numbers, ...]:
    """Stages of which one holds the most bytes, whatever is counted: the first, the last, two between.

    Stages in the middle keep fewer micro-batches the later they come and have no more layers than earlier
    ones, so that only those where experts begin can hold more than the first.
    """
    last = pipeline - 1
    if model.dense_layers in (0, model.layers):
        return 0, last
    chunks = pipeline * virtual
    size = by_size(lambda count: model.layers // count, chunks)
    longer = model.layers - size * chunks
    beyond = model.dense_layers - longer * (size + 1)
    begin = choose(
        beyond <= 0, ceil_div(model.dense_layers, size + 1), longer + ceil_div(beyond, greater(size, 1))
    )
    begin = lesser(begin, last)
    return 0, greater(begin - 1, 0), begin, last


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
