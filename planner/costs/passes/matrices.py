"""The linear maps of one layer and of the ends, as one rank of a tensor group computes them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from planner.costs.links.collectives import Numbers
from planner.domain.model import MlaSpec, ModelSpec, MoeSpec

Cut = Literal["outputs", "inputs", "none"]
"""Which side of a matrix tensor parallelism cuts (Megatron-LM, 1909.08053, section 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One linear map y[tokens, outputs] = x[tokens, inputs] w."""

    inputs: int
    outputs: int
    cut: Cut
    kv_outputs: int = 0
    """Outputs beside those that are keys and values, of which each rank keeps at least one head's."""
    kv_least: int = 0
    is_routed: bool = False
    """Whether each of the layer's routed experts has one."""

    def rows(self, tensor: Numbers) -> Numbers:
        """Inputs on one rank."""
        return self.inputs / tensor if self.cut == "inputs" else self.inputs

    def columns(self, tensor: Numbers) -> Numbers:
        """Outputs on one rank."""
        if self.cut != "outputs":
            return self.outputs
        if not self.kv_outputs:
            return self.outputs / tensor
        kv = self.kv_outputs / tensor
        return self.outputs / tensor + kv + (self.kv_least - kv) * (kv < self.kv_least)

    @property
    def parameters(self) -> int:
        """Of all ranks together; of one expert where experts are routed to."""
        return self.inputs * (self.outputs + self.kv_outputs)


@lru_cache(maxsize=1024)
def layer_matrices(model: ModelSpec, *, is_sparse: bool) -> tuple[Matrix, ...]:
    """The linear maps of one layer in the order of its forward pass.

    Parameters
    ----------
    is_sparse
        Whether the layer has routed experts in the place of its MLP.
    """
    attention = _latent(model, model.mla) if model.mla else _grouped(model)
    if is_sparse and model.moe:
        return attention + _experts(model, model.moe)
    return attention + _mlp(model, model.ffn)


def _grouped(model: ModelSpec) -> tuple[Matrix, ...]:
    """Multi-head, grouped-query or multi-query attention, its three projections fused."""
    return (
        Matrix(
            inputs=model.hidden,
            outputs=model.query_size,
            cut="outputs",
            kv_outputs=2 * model.kv_size,
            kv_least=2 * model.head_dim,
        ),
        Matrix(inputs=model.query_size, outputs=model.hidden, cut="inputs"),
    )


def _latent(model: ModelSpec, mla: MlaSpec) -> tuple[Matrix, ...]:
    """Multi-head latent attention (DeepSeek-V2, 2405.04434, equations 9 to 19)."""
    queries = model.heads * (mla.nope_dim + mla.rope_dim)
    query: tuple[Matrix, ...] = (Matrix(inputs=model.hidden, outputs=queries, cut="outputs"),)
    if mla.query_rank:
        query = (
            Matrix(inputs=model.hidden, outputs=mla.query_rank, cut="none"),
            Matrix(inputs=mla.query_rank, outputs=queries, cut="outputs"),
        )
    heads = model.heads * (mla.nope_dim + mla.value_dim)
    return (
        *query,
        Matrix(inputs=model.hidden, outputs=mla.kv_rank + mla.rope_dim, cut="none"),
        Matrix(inputs=mla.kv_rank, outputs=heads, cut="outputs"),
        Matrix(inputs=model.heads * mla.value_dim, outputs=model.hidden, cut="inputs"),
    )


def _mlp(model: ModelSpec, width: int, *, is_routed: bool = False) -> tuple[Matrix, ...]:
    first = (2 if model.gated else 1) * width
    return (
        Matrix(inputs=model.hidden, outputs=first, cut="outputs", is_routed=is_routed),
        Matrix(inputs=width, outputs=model.hidden, cut="inputs", is_routed=is_routed),
    )


def _experts(model: ModelSpec, moe: MoeSpec) -> tuple[Matrix, ...]:
    router = Matrix(inputs=model.hidden, outputs=moe.experts, cut="none")
    shared = _mlp(model, moe.shared_ffn) if moe.shared_ffn else ()
    return (router, *shared, *_mlp(model, moe.expert_ffn, is_routed=True))


def padded_vocab(model: ModelSpec, tensor: Numbers, multiple: int) -> Numbers:
    """Rows of the embedding that each rank of a tensor group holds, padded to a multiple (Megatron-LM)."""
    return np.ceil(model.vocab / (multiple * np.asarray(tensor))) * multiple
