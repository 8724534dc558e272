"""Which weights each pipeline stage holds, and how many of them tensor parallelism cuts."""

import math
from dataclasses import dataclass
from functools import lru_cache

from planner.domain.model import Head, ModelSpec
from planner.domain.resharding import stage_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One pipeline stage: its layers and parameters."""

    layers: int
    split: int
    """Parameters that tensor parallelism cuts: matrices, their biases, embeddings."""
    whole: int
    """Parameters that every rank of a tensor group holds: norms and the scalar head."""
    tied_copy: int
    """Parameters of the embedding's second copy, which a tied head needs on another stage."""
    has_head: bool

    def shard(self, tensor: int) -> int:
        """Parameters of the stage's own tensors on one rank of a tensor group."""
        return math.ceil(self.split / tensor) + self.whole

    def trained_shard(self, tensor: int) -> int:
        """The same with the copy of a tied head."""
        return math.ceil((self.split + self.tied_copy) / tensor) + self.whole


@lru_cache(maxsize=4096)
def stages_of(model: ModelSpec, head: Head, count: int) -> tuple[Stage, ...]:
    """The stages of a model, its weights assigned as by `planner.domain.resharding.holds`."""
    bias = model.query_size + 2 * model.kv_size if model.has_qkv_bias else 0
    split = model.layer_matrix_parameters + bias
    whole = model.layer_vector_parameters - bias
    own_head = model.head_parameters(head)
    tied = head == "vocabulary" and model.tied_embeddings and count > 1

    def stage(index: int, layers: int) -> Stage:
        is_last = index == count - 1
        embedding = model.embedding_parameters if index == 0 else 0
        split_head = own_head if is_last and head == "vocabulary" else 0
        whole_head = model.hidden + (own_head if head == "scalar" else 0) if is_last else 0
        return Stage(
            layers=layers,
            split=layers * split + embedding + split_head,
            whole=layers * whole + whole_head,
            tied_copy=model.embedding_parameters if tied and is_last else 0,
            has_head=is_last,
        )

    return tuple(stage(index, layers) for index, layers in enumerate(stage_layers(model.layers, count)))
