"""Seconds of attention kernels: flash attention forward, backward and decode, and attention before it.

All arguments may be scalars or arrays that broadcast. A prediction never beats the data sheet: it is at least
FLOPs over peak and bytes that must cross the memory bus over its bandwidth.
"""

from typing import Any

import numpy as np

from planner.costs.elementwise import elementwise_seconds
from planner.costs.gemm import Numbers, gemm_seconds
from planner.costs.peaks import peak_flops_per_s
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import AttentionFit, DecodeFit, FlatFit, PrefillFit
from planner.domain.model import PARAMETER_BYTES, Precision

BLOCK = 128
"""Query tokens of one block (Dao 2023, 2307.08691, section 3.3)."""
TILE_HEADS = 16
"""Query heads of a group that one matrix instruction takes at least."""
BACKWARD_FLOPS = 2.5
"""Of the forward's: five matrix products for two (Dao 2023, 2307.08691, section 4.1)."""
SPLIT_CONTEXT = 128
"""Cached tokens from which decode splits a context among multiprocessors."""


def prefill_attention_seconds(
    device: DeviceSpec,
    *,
    sequences: Numbers,
    tokens: Numbers,
    heads: Numbers,
    kv_heads: Numbers,
    head_dim: Numbers,
    precision: Precision = "bf16",
    causal: bool = True,
    past_tokens: Numbers = 0,
    value_dim: Numbers | None = None,
    engine: str | None = None,
) -> Any:
    """Flash attention forward over new tokens, with the write of their keys and values into a cache.

    Blocks of queries share the multiprocessors, and the longest of them runs on alone (Dao 2023, 2307.08691,
    section 3.2); ``keys`` stands for masked halves of blocks and their start and end.

    Parameters
    ----------
    tokens
        New ones per sequence.
    past_tokens
        Cached ones per sequence, which all new ones attend to.
    value_dim
        Width of a head's values where it differs from that of its keys, as in latent attention.
    engine
        Serving engine with its version, whose own kernels are used where they were measured.
    """
    width = head_dim + (head_dim if value_dim is None else value_dim)
    peak, item = peak_flops_per_s(device, precision), PARAMETER_BYTES[precision]
    pairs = attended_pairs(tokens, past_tokens, causal=causal)
    flops = 2.0 * sequences * heads * width * pairs
    key_values = item * sequences * kv_heads * width
    moved = item * sequences * tokens * heads * width + key_values * (tokens + past_tokens)
    floor = np.maximum(flops / peak, moved / device.memory_bandwidth)
    fit = device.kernels.attention
    if isinstance(fit, FlatFit):
        return _result(fit.launch + floor / fit.share)
    own = _prefill_fit(fit, engine)
    rate = own.share * peak
    extra = 2.0 * sequences * heads * width * tokens * own.keys
    blocks = sequences * heads * np.ceil(tokens / BLOCK)
    work = (flops + extra) / rate + blocks * own.block / device.multiprocessors
    longest = 2.0 * width * np.minimum(tokens, BLOCK) * (tokens + past_tokens)
    tail = own.tail * longest * device.multiprocessors / rate
    written = 2.0 * key_values * tokens
    streams = (moved + written) / (own.streams * device.memory_bandwidth)
    seconds = own.launch + streams + _norm(own.overlap, work, tail)
    return _result(np.maximum(seconds, floor))


def backward_attention_seconds(
    device: DeviceSpec,
    *,
    sequences: Numbers,
    tokens: Numbers,
    heads: Numbers,
    kv_heads: Numbers,
    head_dim: Numbers,
    precision: Precision = "bf16",
    causal: bool = True,
    value_dim: Numbers | None = None,
) -> Any:
    """Flash attention backward, recomputing the scores (Dao 2023, 2307.08691, section 3.1.2)."""
    width = head_dim + (head_dim if value_dim is None else value_dim)
    peak, item = peak_flops_per_s(device, precision), PARAMETER_BYTES[precision]
    pairs = attended_pairs(tokens, 0, causal=causal)
    flops = BACKWARD_FLOPS * 2.0 * sequences * heads * width * pairs
    moved = 2.0 * item * sequences * tokens * (heads + kv_heads) * width
    floor = np.maximum(flops / peak, moved / device.memory_bandwidth)
    fit = device.kernels.attention
    if isinstance(fit, FlatFit):
        return _result(fit.launch + floor / fit.share)
    own = fit.backward
    rate = own.share * peak
    extra = BACKWARD_FLOPS * 2.0 * sequences * heads * width * tokens * own.keys
    longest = BACKWARD_FLOPS * 2.0 * width * np.minimum(tokens, BLOCK) * tokens
    tail = own.tail * longest * device.multiprocessors / rate
    streams = moved / (fit.prefill.streams * device.memory_bandwidth)
    return _result(np.maximum(fit.prefill.launch + streams + (flops + extra) / rate + tail, floor))


def decode_attention_seconds(
    device: DeviceSpec,
    *,
    sequences: Numbers,
    context: Numbers,
    heads: Numbers,
    kv_heads: Numbers,
    head_dim: Numbers,
    precision: Precision = "bf16",
    engine: str | None = None,
    warm: bool = False,
) -> Any:
    """One query token per sequence against ``context`` cached tokens each, contexts split among blocks.

    Parameters
    ----------
    context
        Cached tokens per sequence; may be a mean.
    warm
        Keys and values that fit into the shared cache are found there, as when one kernel is measured again
        and again; in a model other layers have evicted them.
    """
    peak, item = peak_flops_per_s(device, precision), PARAMETER_BYTES[precision]
    units, group = sequences * kv_heads, heads / kv_heads
    cached = 2.0 * item * units * context * head_dim
    queries = 2.0 * item * sequences * heads * head_dim
    flops = 4.0 * sequences * heads * context * head_dim
    floor = np.maximum(flops / peak, (cached + queries) / device.memory_bandwidth)
    fit = device.kernels.attention
    if isinstance(fit, FlatFit):
        return _result(fit.launch + floor / fit.share)
    own = _decode_fit(fit, engine)
    missed = np.clip((cached / max(device.l2, 1) - own.warm) / own.cold, 0.0, 1.0) if warm else 1.0
    pace = missed / own.share + (1.0 - missed) / own.cache
    streams = (cached * pace + queries / own.queries) / device.memory_bandwidth
    padded = 4.0 * units * np.maximum(group, TILE_HEADS) * context * head_dim / (own.compute * peak)
    fixed = own.unit * np.maximum(units / device.multiprocessors, 1.0)
    chain = np.where(np.asarray(group) > 1, own.chain, own.lone_chain) * context * head_dim / 128
    combine = own.combine * np.log2(1.0 + context / 256.0) * (np.asarray(context) >= SPLIT_CONTEXT)
    seconds = own.launch + combine + _norm(own.overlap, fixed, streams, chain, padded)
    return _result(np.maximum(seconds, floor))


def unfused_attention_seconds(
    device: DeviceSpec,
    *,
    sequences: Numbers,
    tokens: Numbers,
    heads: Numbers,
    kv_heads: Numbers,
    head_dim: Numbers,
    backward: bool,
    precision: Precision = "bf16",
) -> Any:
    """Attention that writes the scores of all token pairs to memory, as before flash attention.

    Forward: the product writes the scores, softmax (scale and mask fused) reads and writes them, dropout
    reads and writes them and writes a mask of one byte, the second product reads them (Korthikanti et al.
    2205.05198, section 4.1). Backward: two products for each, dropout with a read and a write, softmax with
    two reads and a write. No product skips the masked half.
    """
    item = PARAMETER_BYTES[precision]
    products = [
        gemm_seconds(device, tokens, tokens, head_dim, precision=precision, groups=sequences * heads),
        gemm_seconds(device, tokens, head_dim, tokens, precision=precision, groups=sequences * heads),
    ]
    scores = 1.0 * sequences * heads * tokens * tokens
    passes, masks = (5, 1) if backward else (4, 1)
    streams = elementwise_seconds(device, scores * (item * passes + masks), kernels=2)
    return (2 if backward else 1) * (products[0] + products[1]) + streams


def attended_pairs(tokens: Numbers, past_tokens: Numbers, *, causal: bool) -> Any:
    """Query-key pairs of one sequence and head; a causal mask leaves half of those among new tokens."""
    among = tokens * (tokens + 1.0) / 2.0 if causal else 1.0 * tokens * tokens
    return among + 1.0 * tokens * past_tokens


def _norm(power: float, *parts: Any) -> Any:
    """The p-norm of parts that overlap: 1 is their sum, infinity their maximum."""
    total = sum(np.asarray(part, dtype=float) ** power for part in parts)
    return total ** (1.0 / power)


def _prefill_fit(fit: AttentionFit, engine: str | None) -> PrefillFit:
    name = nearest_engine(fit, engine)
    return fit.engines[name].prefill if name else fit.prefill


def _decode_fit(fit: AttentionFit, engine: str | None) -> DecodeFit:
    name = nearest_engine(fit, engine)
    return fit.engines[name].decode if name else fit.decode


def nearest_engine(fit: AttentionFit, engine: str | None) -> str | None:
    """The measured engine of that name and version, else the last measured version of it, else none."""
    if engine is None or engine in fit.engines:
        return engine
    family = engine.split("-")[0]
    versions = [name for name in fit.engines if name.split("-")[0] == family]
    return max(versions, key=_version, default=None)


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.partition("-")[2].split(".") if part.isdigit())


def _result(seconds: Any) -> Any:
    return float(seconds) if np.ndim(seconds) == 0 else seconds
