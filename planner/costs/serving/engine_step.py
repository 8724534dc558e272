"""Seconds of one step of a serving engine: a token for each running sequence, and prompts beside them.

A step feeds the tokens of all running sequences, and those of the prompts that it takes in, through the
same matrices (chunked prefill, Agrawal et al. 2308.16369, section 4); only attention tells them apart. What
integrates steps, in closed form or event by event, differs only in which sequences it has run together.

All functions take numbers or arrays that broadcast, and count one pass through one pipeline stage.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.costs.kernels.attention import decode_attention_seconds, prefill_attention_seconds
from planner.costs.kernels.elementwise import elementwise_seconds
from planner.costs.kernels.gemm import Numbers, gemm_seconds
from planner.costs.links.collectives import channel, send_seconds, small_all_reduce_seconds
from planner.costs.passes.matrices import Matrix, layer_matrices
from planner.domain.cluster import DeviceSpec, NodePool
from planner.domain.model import PARAMETER_BYTES, ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy
from planner.domain.stack import GenerationStack

LAYER_KERNELS = 5
"""Elementwise ones of a layer: two norms with their residuals, rotary embedding, cache write, activation."""

SAMPLER_BYTES = 16
"""Moved per logit: read in 16 bits, written, scaled and read in 32 (vLLM, v1/sample/sampler.py)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Engine:
    """A model on a serving engine. Each is its own key of cached tables."""

    model: ModelSpec
    precision: Precision
    node_pool: NodePool
    stack: GenerationStack

    @property
    def device(self) -> DeviceSpec:
        return self.node_pool.device

    @property
    def element_bytes(self) -> int:
        """Bytes of one activation, or of one element of the cache."""
        return PARAMETER_BYTES[self.precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What attention sees of a model on one device."""

    query: int
    kv: int
    dim: float
    """Of prefill, half the width of a head's key and value together."""
    cached_query: int
    cached_kv: int
    cached_dim: float
    """The same of decode, which under latent attention works on the latents themselves."""


def heads_of(model: ModelSpec, tensor: int) -> Heads:
    """Heads on one device; key heads are copied when the tensor group outnumbers them.

    Latent attention decodes with the up-projections absorbed into the queries (DeepSeek-V2, 2405.04434,
    section 2.1.2): one cached row of the latent and the rotary part serves all heads, as key and as value.
    In the terms of `decode_attention_seconds` that is one key head of half the row's width, and twice the
    query heads.
    """
    query = -(-model.heads // tensor)
    kv = -(-model.kv_heads // tensor)
    if model.mla is None:
        return Heads(
            query=query,
            kv=kv,
            dim=model.head_dim,
            cached_query=query,
            cached_kv=kv,
            cached_dim=model.head_dim,
        )
    width = model.mla.nope_dim + model.mla.rope_dim + model.mla.value_dim
    return Heads(
        query=query,
        kv=query,
        dim=width / 2,
        cached_query=2 * query,
        cached_kv=1,
        cached_dim=model.cached_size / 2,
    )


def cached_bytes(engine: Engine, generate: GenerationStrategy) -> int:
    """Keys and values of one token on one device, of the stage with the most layers.

    Key heads are copied when t_g exceeds their number; the latent of all heads is whole on every device.
    """
    model = engine.model
    layers = -(-model.layers // generate.pipeline)
    heads = -(-model.kv_heads // generate.tensor)
    width = model.cached_size if model.mla else 2 * heads * model.head_dim
    return layers * width * engine.element_bytes


def linear_seconds(engine: Engine, generate: GenerationStrategy, tokens: Numbers) -> Any:
    """One mean layer's matrices, elementwise kernels and all-reduces over ``tokens``."""
    model = engine.model
    dense, sparse = model.dense_layers, model.expert_layers
    seconds: Any = 0.0
    if dense:
        seconds = dense * _layer_seconds(engine, generate, tokens, is_sparse=False)
    if sparse:
        seconds = seconds + sparse * _layer_seconds(engine, generate, tokens, is_sparse=True)
    return seconds / model.layers + 2 * _reduce_seconds(engine, generate, tokens)


def _layer_seconds(engine: Engine, generate: GenerationStrategy, tokens: Numbers, *, is_sparse: bool) -> Any:
    matrices = layer_matrices(engine.model, is_sparse=is_sparse)
    products = sum(_product_seconds(engine, matrix, generate.tensor, tokens) for matrix in matrices)
    moved = tokens * _elementwise_bytes(engine, generate.tensor, is_sparse=is_sparse)
    return products + elementwise_seconds(engine.device, moved, kernels=LAYER_KERNELS)


def _product_seconds(engine: Engine, matrix: Matrix, tensor: int, tokens: Numbers) -> Any:
    moe = engine.model.moe
    groups: Any = 1.0
    m: Any = tokens
    if matrix.is_routed and moe:
        groups = experts_hit(moe.experts, moe.experts_per_token, tokens)
        m = np.maximum(1.0, tokens * moe.experts_per_token / groups)
    n, k = matrix.columns(tensor), matrix.rows(tensor)
    return gemm_seconds(engine.device, m, n, k, precision=engine.precision, groups=groups)


def experts_hit(experts: int, per_token: int, tokens: Numbers) -> Any:
    """Experts of a layer that at least one token is routed to, under uniform routing."""
    return experts * (1 - (1 - per_token / experts) ** np.maximum(1.0, tokens))


def _elementwise_bytes(engine: Engine, tensor: int, *, is_sparse: bool) -> float:
    """Bytes per token: two fused residual norms (4 h each), rotary embedding and cache write, activation.

    Norms are whole on every rank (Korthikanti et al. 2205.05198, section 4.2.2), the rest is cut.
    """
    model = engine.model
    width: float = model.ffn
    if is_sparse and model.moe:
        width = model.moe.shared_ffn + model.moe.experts_per_token * (model.moe.expert_ffn + 2 * model.hidden)
    heads = 2 * (model.query_size + model.cached_size) + model.cached_size
    return (8 * model.hidden + (heads + (3 if model.gated else 2) * width) / tensor) * engine.element_bytes


def _reduce_seconds(engine: Engine, generate: GenerationStrategy, tokens: Numbers) -> Any:
    """The activations over the tensor group, after attention and after the MLP.

    Engines reduce what is small with kernels of their own, and the rest with NCCL.
    """
    on = channel(engine.node_pool, size=generate.tensor, stride=1, devices=generate.devices)
    message = tokens * engine.model.hidden * engine.element_bytes
    return small_all_reduce_seconds(on, message, engine=engine.stack.name.partition("-")[0])


def hop_seconds(engine: Engine, generate: GenerationStrategy, tokens: Numbers) -> Any:
    """Activations of one pass to the next stage, the replica taken as neighbouring devices."""
    one = generate.pipeline * generate.tensor
    devices = generate.devices if one > engine.node_pool.devices_per_node else one
    on = channel(engine.node_pool, size=generate.pipeline, stride=generate.tensor, devices=devices)
    return send_seconds(on, tokens * engine.model.hidden * engine.element_bytes / generate.tensor)


def head_seconds(engine: Engine, generate: GenerationStrategy, sequences: Numbers) -> Any:
    """Logits of one token of each sequence, and sampling from them."""
    vocab = engine.model.vocab
    product = gemm_seconds(
        engine.device,
        sequences,
        vocab / generate.tensor,
        engine.model.hidden,
        precision=_wide_precision(engine),
    )
    return product + elementwise_seconds(engine.device, sequences * vocab * SAMPLER_BYTES, kernels=4)


def _wide_precision(engine: Engine) -> Precision:
    """Of what engines leave in 16 bits when they quantize matrices: the head, keys and values."""
    return "bf16" if engine.precision == "fp8" else engine.precision


def decode_layer_seconds(
    engine: Engine, generate: GenerationStrategy, *, sequences: Numbers, context: Numbers
) -> Any:
    """Attention of one layer for one token of each sequence."""
    heads = heads_of(engine.model, generate.tensor)
    return decode_attention_seconds(
        engine.device,
        sequences=sequences,
        context=context,
        heads=heads.cached_query,
        kv_heads=heads.cached_kv,
        head_dim=heads.cached_dim,
        precision=_wide_precision(engine),
        engine=engine.stack.name,
    )


def prefill_layer_seconds(
    engine: Engine,
    generate: GenerationStrategy,
    *,
    sequences: Numbers,
    tokens: Numbers,
    past_tokens: Numbers = 0,
) -> Any:
    """Attention of one layer over ``tokens`` new tokens of each of ``sequences`` prompts."""
    heads = heads_of(engine.model, generate.tensor)
    return prefill_attention_seconds(
        engine.device,
        sequences=sequences,
        tokens=tokens,
        heads=heads.query,
        kv_heads=heads.kv,
        head_dim=heads.dim,
        precision=_wide_precision(engine),
        past_tokens=past_tokens,
        engine=engine.stack.name,
    )
