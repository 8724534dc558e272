"""The parameter tensors that Megatron-Core makes of a model, and their elements on one rank.

Fused as Megatron fuses them, because each tensor of a training buffer starts at an aligned place
(``megatron.core.distributed.param_and_grad_buffer``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from planner.costs.memory.rounding import Numbers, aligned, ceil_div
from planner.domain.model import Head, ModelSpec

Part = tuple[int, bool]
"""Elements of one tensor, and whether tensor parallelism cuts it."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """Some parameter tensors, in Megatron's order."""

    parts: tuple[Part, ...] = ()

    def elements(self, tensor: Numbers, *, align: int = 1) -> Numbers:
        """Elements on one rank of a tensor group, each tensor rounded up to ``align``."""
        cut = sum(aligned(ceil_div(size, tensor), align) for size, is_cut in self.parts if is_cut)
        return cut + sum(aligned(size, align) for size, is_cut in self.parts if not is_cut)

    def each(self, tensor: int) -> list[int]:
        """Elements of each tensor on one rank."""
        return [ceil_div(size, tensor) if is_cut else size for size, is_cut in self.parts]

    @property
    def greatest_cut(self) -> int:
        """The largest of the tensors that are cut."""
        return max((size for size, is_cut in self.parts if is_cut), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTensors:
    """One layer: what all data ranks hold alike, and one routed expert."""

    shared: Tensors
    expert: Tensors
    experts: int = 0
    behind_experts: int = 0
    """Of the shared tensors, those that Megatron puts behind the routed experts."""


@lru_cache(maxsize=1024)
def layer_tensors(model: ModelSpec, *, is_sparse: bool) -> LayerTensors:
    """The tensors of one layer.

    Parameters
    ----------
    is_sparse
        Whether the layer has routed experts in the place of its MLP.
    """
    attention = _latent_attention(model) if model.mla else _attention(model)
    shared = [*_norm(model), *attention, *_norm(model)]
    moe = model.moe if is_sparse else None
    if moe is None:
        return LayerTensors(shared=Tensors((*shared, *_mlp(model, model.ffn))), expert=Tensors())
    shared.append((model.hidden * moe.experts, False))
    behind = list(_mlp(model, moe.shared_ffn)) if moe.shared_ffn else []
    return LayerTensors(
        shared=Tensors((*shared, *behind)),
        expert=Tensors(tuple(_mlp(model, moe.expert_ffn))),
        experts=moe.experts,
        behind_experts=len(behind),
    )


def vocabulary_rows(model: ModelSpec, tensor: Numbers, multiple: int) -> Numbers:
    """Rows of the embedding on one rank, padded to ``multiple`` on each."""
    return aligned(ceil_div(model.vocab, tensor), multiple)


def embedding_elements(model: ModelSpec, tensor: Numbers, multiple: int) -> Numbers:
    """Of the token embedding, or the head, on one rank."""
    return vocabulary_rows(model, tensor, multiple) * model.hidden


def end_tensors(model: ModelSpec, head: Head) -> tuple[Tensors, Tensors]:
    """(Behind the embedding, behind the last layer) up to the vocabulary head; whole on every rank."""
    before = [(model.position_parameters, False)] if model.learned_positions else []
    behind = [*_norm(model)] + ([(model.hidden, False)] if head == "scalar" else [])
    return Tensors(tuple(before)), Tensors(tuple(behind))


def _norm(model: ModelSpec) -> Iterator[Part]:
    yield model.hidden, False
    if model.has_linear_bias:
        yield model.hidden, False


def _attention(model: ModelSpec) -> Iterator[Part]:
    """Query, key and value are one tensor, cut evenly also where ranks outnumber key heads."""
    fused = model.query_size + 2 * model.kv_size
    yield model.hidden * model.query_size, True
    if model.has_linear_bias:
        yield model.hidden, False
    yield model.hidden * fused, True
    if model.has_qkv_bias:
        yield fused, True
    if model.has_qk_norm:
        yield model.head_dim, False
        yield model.head_dim, False


def _latent_attention(model: ModelSpec) -> Iterator[Part]:
    """Compressions are whole, expansions cut by heads (Megatron-Core's ``MLASelfAttention`` with TE)."""
    mla = model.mla
    assert mla is not None, "only called for latent attention"
    if mla.query_rank:
        yield model.hidden * mla.query_rank, False
        yield mla.query_rank, False
        yield mla.query_rank * model.query_size, True
    else:
        yield model.hidden * model.query_size, True
    yield model.hidden * model.cached_size, False
    yield mla.kv_rank, False
    yield mla.kv_rank * model.heads * (mla.nope_dim + mla.value_dim), True
    yield model.hidden * model.value_size, True


def _mlp(model: ModelSpec, ffn: int) -> Iterator[Part]:
    """Gate and up are one tensor."""
    first = 2 * ffn if model.gated else ffn
    yield model.hidden * first, True
    if model.has_linear_bias:
        yield first, True
    yield model.hidden * ffn, True
    if model.has_linear_bias:
        yield model.hidden, False
