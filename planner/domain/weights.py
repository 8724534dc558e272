"""The weights of a model under their Hugging Face names, and how tensor parallelism cuts each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from planner.domain.model import Head, ModelSpec

Split = Literal["rows", "columns", "whole"]
"""How tensor parallelism cuts a matrix: by its first axis, by its second, or not at all."""

_Part = tuple[str, tuple[int, ...], Split]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightTensor:
    """One weight under its Hugging Face name."""

    name: str
    shape: tuple[int, ...]
    split: Split
    layer: int | None
    """Layer it belongs to; none for the embeddings (first stage), the last norm and the head (last stage)."""
    in_last_stage: bool = False
    is_expert: bool = False
    """Whether it belongs to a routed expert, which expert parallelism spreads."""

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


def shard_shape(tensor: WeightTensor, tensor_size: int) -> tuple[int, ...]:
    """Shape of one rank's part of a tensor that tensor parallelism cuts into so many."""
    shape = list(tensor.shape)
    if tensor.split != "whole":
        axis = 0 if tensor.split == "rows" else 1
        shape[axis] //= tensor_size
    return tuple(shape)


def weight_tensors(model: ModelSpec, head: Head = "vocabulary") -> Iterator[WeightTensor]:
    """All weights of a model in checkpoint order; a tied head is the embedding itself."""
    prefix, embedding, positions, norm = _END_NAMES.get(model.family, _END_NAMES["llama"])
    yield WeightTensor(name=embedding, shape=(model.vocab, model.hidden), split="rows", layer=None)
    if model.learned_positions:
        table = (model.learned_positions, model.hidden)
        yield WeightTensor(name=positions, shape=table, split="whole", layer=None)
    for layer in range(model.layers):
        for name, shape, split in _layer_parts(model, layer):
            name = f"{prefix}.{layer}.{name}"
            yield WeightTensor(
                name=name, shape=shape, split=split, layer=layer, is_expert=".experts." in name
            )
    yield from _last_tensors(model, head, norm)


def _last_tensors(model: ModelSpec, head: Head, norm: str) -> Iterator[WeightTensor]:
    last: list[_Part] = [*_norm(model, norm)]
    if head == "scalar":
        last.append(("score.weight", (1, model.hidden), "whole"))
    elif not model.tied_embeddings:
        last.append(("lm_head.weight", (model.vocab, model.hidden), "rows"))
    for name, shape, split in last:
        yield WeightTensor(name=name, shape=shape, split=split, layer=None, in_last_stage=True)


_END_NAMES = {
    "llama": ("model.layers", "model.embed_tokens.weight", "", "model.norm"),
    "gpt": ("transformer.h", "transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f"),
    "opt": (
        "model.decoder.layers",
        "model.decoder.embed_tokens.weight",
        "model.decoder.embed_positions.weight",
        "model.decoder.final_layer_norm",
    ),
}
"""Prefix of the layers, the embeddings, the last norm; by family, Llama's where it has none of its own."""


def _layer_parts(model: ModelSpec, layer: int) -> Iterator[_Part]:
    if model.family == "gpt":
        yield from _gpt_layer(model)
    elif model.family == "opt":
        yield from _opt_layer(model)
    else:
        yield from _norm(model, "input_layernorm")
        yield from _latent_attention(model) if model.mla else _attention(model)
        yield from _norm(model, "post_attention_layernorm")
        has_experts = layer >= model.dense_layers
        yield from _experts(model) if has_experts else _mlp(model, "mlp", model.ffn)
        yield from _attention_vectors(model)


def _norm(model: ModelSpec, name: str) -> Iterator[_Part]:
    yield f"{name}.weight", (model.hidden,), "whole"
    if model.has_linear_bias:
        yield f"{name}.bias", (model.hidden,), "whole"


def _attention(model: ModelSpec) -> Iterator[_Part]:
    yield "self_attn.q_proj.weight", (model.query_size, model.hidden), "rows"
    yield "self_attn.k_proj.weight", (model.kv_size, model.hidden), "rows"
    yield "self_attn.v_proj.weight", (model.kv_size, model.hidden), "rows"
    yield "self_attn.o_proj.weight", (model.hidden, model.query_size), "columns"


def _attention_vectors(model: ModelSpec) -> Iterator[_Part]:
    if model.has_qkv_bias:
        yield "self_attn.q_proj.bias", (model.query_size,), "rows"
        yield "self_attn.k_proj.bias", (model.kv_size,), "rows"
        yield "self_attn.v_proj.bias", (model.kv_size,), "rows"
    if model.has_qk_norm:
        yield "self_attn.q_norm.weight", (model.head_dim,), "whole"
        yield "self_attn.k_norm.weight", (model.head_dim,), "whole"


def _latent_attention(model: ModelSpec) -> Iterator[_Part]:
    """Compressions are whole on every tensor rank, expansions are cut by heads (DeepSeek-V2, 2405.04434)."""
    mla = model.mla
    assert mla is not None, "only called for latent attention"
    if mla.query_rank is None:
        yield "self_attn.q_proj.weight", (model.query_size, model.hidden), "rows"
    else:
        yield "self_attn.q_a_proj.weight", (mla.query_rank, model.hidden), "whole"
        yield "self_attn.q_a_layernorm.weight", (mla.query_rank,), "whole"
        yield "self_attn.q_b_proj.weight", (model.query_size, mla.query_rank), "rows"
    yield "self_attn.kv_a_proj_with_mqa.weight", (model.cached_size, model.hidden), "whole"
    yield "self_attn.kv_a_layernorm.weight", (mla.kv_rank,), "whole"
    expanded = model.heads * (mla.nope_dim + mla.value_dim)
    yield "self_attn.kv_b_proj.weight", (expanded, mla.kv_rank), "rows"
    yield "self_attn.o_proj.weight", (model.hidden, model.value_size), "columns"


def _mlp(
    model: ModelSpec,
    name: str,
    ffn: int,
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
) -> Iterator[_Part]:
    gate, up, down = names
    yield f"{name}.{gate}.weight", (ffn, model.hidden), "rows"
    yield f"{name}.{up}.weight", (ffn, model.hidden), "rows"
    yield f"{name}.{down}.weight", (model.hidden, ffn), "columns"


def _experts(model: ModelSpec) -> Iterator[_Part]:
    """Router, routed and shared experts; Mixtral has names of its own."""
    assert model.moe is not None, "only called for layers with experts"
    is_mixtral = model.family == "mixtral"
    block = "block_sparse_moe" if is_mixtral else "mlp"
    yield f"{block}.gate.weight", (model.moe.experts, model.hidden), "whole"
    names = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
    for expert in range(model.moe.experts):
        yield from _mlp(model, f"{block}.experts.{expert}", model.moe.expert_ffn, names)
    if model.moe.shared_ffn:
        yield from _mlp(model, f"{block}.shared_experts", model.moe.shared_ffn)


def _gpt_layer(model: ModelSpec) -> Iterator[_Part]:
    """GPT-2's maps are stored input first, so that tensor parallelism cuts the other axis."""
    hidden, ffn = model.hidden, model.ffn
    fused = model.query_size + 2 * model.kv_size
    yield from _norm(model, "ln_1")
    yield "attn.c_attn.weight", (hidden, fused), "columns"
    yield "attn.c_attn.bias", (fused,), "rows"
    yield "attn.c_proj.weight", (model.query_size, hidden), "rows"
    yield "attn.c_proj.bias", (hidden,), "whole"
    yield from _norm(model, "ln_2")
    yield "mlp.c_fc.weight", (hidden, ffn), "columns"
    yield "mlp.c_fc.bias", (ffn,), "rows"
    yield "mlp.c_proj.weight", (ffn, hidden), "rows"
    yield "mlp.c_proj.bias", (hidden,), "whole"


def _opt_layer(model: ModelSpec) -> Iterator[_Part]:
    hidden, ffn = model.hidden, model.ffn
    for name, size in (("k", model.kv_size), ("v", model.kv_size), ("q", model.query_size)):
        yield f"self_attn.{name}_proj.weight", (size, hidden), "rows"
        yield f"self_attn.{name}_proj.bias", (size,), "rows"
    yield "self_attn.out_proj.weight", (hidden, model.query_size), "columns"
    yield "self_attn.out_proj.bias", (hidden,), "whole"
    yield from _norm(model, "self_attn_layer_norm")
    yield "fc1.weight", (ffn, hidden), "rows"
    yield "fc1.bias", (ffn,), "rows"
    yield "fc2.weight", (hidden, ffn), "columns"
    yield "fc2.bias", (hidden,), "whole"
    yield from _norm(model, "final_layer_norm")
