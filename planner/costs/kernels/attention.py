"""Seconds of attention over whole sequences: flash attention forward and backward, and attention before it.

All arguments may be scalars or arrays that broadcast. A prediction never beats the data sheet: it is at least
FLOPs over peak and bytes that must cross the memory bus over its bandwidth. The coefficients come from
measured rows (`planner.calibration.attention`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.costs.kernels.decode_attention import decode_attention_seconds
from planner.costs.kernels.elementwise import elementwise_seconds
from planner.costs.kernels.gemm import Numbers, gemm_seconds
from planner.costs.kernels.norms import norm
from planner.costs.kernels.peaks import peak_flops_per_s
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FlatFit, PrefillFit
from planner.domain.model import PARAMETER_BYTES, Precision

__all__ = [
    "backward_attention_seconds",
    "decode_attention_seconds",
    "prefill_attention_seconds",
    "unfused_attention_seconds",
]

BLOCK = 128
"""Query tokens of one block (FlashAttention-2, 2307.08691, section 3.3)."""
NARROW = 128
"""Width of keys that backward kernels hold in registers."""
APPEND_THREADS = 512
"""Values of a token that a block of threads writes into the cache at once (vLLM, ``reshape_and_cache``)."""
RESIDENT_THREADS = 2048
"""Of a multiprocessor (CUDA C++ Programming Guide, table of technical specifications)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """The work of one kernel over whole sequences; each a number or an array."""

    sequences: Numbers
    tokens: Numbers
    past_tokens: Numbers
    heads: Numbers
    kv_heads: Numbers
    width: Numbers
    """Of a head's key and value together."""
    item_bytes: int
    causal: bool

    @property
    def pairs(self) -> Any:
        """Query-key pairs of one sequence and head; a causal mask leaves half of those among new tokens."""
        tokens = 1.0 * np.asarray(self.tokens)
        among = tokens * (tokens + 1.0) / 2.0 if self.causal else tokens * tokens
        return among + tokens * self.past_tokens

    @property
    def flops(self) -> Any:
        """Forward: two products of each pair (FlashAttention-2, section 4.1)."""
        return 2.0 * self.sequences * self.heads * self.width * self.pairs

    @property
    def row_bytes(self) -> Any:
        """Queries and outputs."""
        return 1.0 * self.item_bytes * self.sequences * self.tokens * self.heads * self.width

    @property
    def token_bytes(self) -> Any:
        """Keys and values of one token of every sequence."""
        return 1.0 * self.item_bytes * self.sequences * self.kv_heads * self.width

    @property
    def moved_bytes(self) -> Any:
        """Queries, keys, values and outputs once."""
        return self.row_bytes + self.token_bytes * (np.asarray(self.tokens) + self.past_tokens)


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
    cached: bool = True,
) -> Any:
    """Flash attention forward over new tokens.

    Blocks of queries share the multiprocessors, and the longest of them runs on alone (FlashAttention-2,
    section 3.2). A single new token is a decode step.

    Parameters
    ----------
    tokens
        New ones per sequence.
    past_tokens
        Cached ones per sequence, which all new ones attend to.
    value_dim
        Width of a head's values where it differs from that of its keys, as in latent attention.
    engine
        Serving engine, with or without its version, whose own kernels are used where they were measured.
    cached
        New keys and values are also written into a cache, as for generation.
    """
    work = Prefill(
        sequences=sequences,
        tokens=tokens,
        past_tokens=past_tokens,
        heads=heads,
        kv_heads=kv_heads,
        width=head_dim + (head_dim if value_dim is None else value_dim),
        item_bytes=PARAMETER_BYTES[precision],
        causal=causal,
    )
    peak = peak_flops_per_s(device, precision)
    floor = np.maximum(work.flops / peak, work.moved_bytes / device.memory_bandwidth)
    fit = device.kernels.attention
    if isinstance(fit, FlatFit):
        return floor / fit.share + fit.launch
    own = fit.of(engine).prefill
    seconds = own.launch + _blocks_seconds(device, own, work, peak) + _reading_seconds(device, own, work)
    if cached:
        seconds = seconds + _appending_seconds(device, own, work)
    is_step = (np.asarray(tokens) > 0) & (np.asarray(tokens) <= 1)
    if is_step.any():
        step = decode_attention_seconds(
            device,
            sequences=sequences,
            context=np.asarray(past_tokens) + 1,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=work.width / 2,
            precision=precision,
            engine=engine,
        )
        seconds = np.where(is_step, step, seconds)[()]
    return np.maximum(seconds, floor)


def _blocks_seconds(device: DeviceSpec, own: PrefillFit, work: Prefill, peak: float) -> Any:
    """Computing, until the longest block is done; slower when it lasts, as power limits the clock."""
    per_pair = 2.0 * np.asarray(work.width) / (own.share * peak) + own.score / device.multiprocessors
    tokens = np.asarray(work.tokens)
    starting = _blocks(own, work) * own.block / device.multiprocessors
    computing = work.sequences * work.heads * per_pair * (work.pairs + tokens * own.keys) + starting
    computing = computing * (1.0 + own.slowdown * computing / (computing + own.heat))
    keys = tokens + work.past_tokens + own.keys
    longest = own.tail * per_pair * device.multiprocessors * np.minimum(tokens, BLOCK) * keys
    return norm(own.overlap, computing, longest)


def _blocks(own: PrefillFit, work: Prefill) -> Any:
    """Blocks of queries, of one head or of the heads that share their keys."""
    if own.packed:
        rows = np.asarray(work.tokens) * (np.asarray(work.heads) / work.kv_heads)
        return work.sequences * work.kv_heads * np.ceil(rows / BLOCK)
    return work.sequences * work.heads * np.ceil(np.asarray(work.tokens) / BLOCK)


def _reading_seconds(device: DeviceSpec, own: PrefillFit, work: Prefill) -> Any:
    keys = work.token_bytes * (np.asarray(work.tokens) + work.past_tokens)
    return (work.row_bytes / own.rows + keys / own.cache) / device.memory_bandwidth


def _appending_seconds(device: DeviceSpec, own: PrefillFit, work: Prefill) -> Any:
    """One block of threads per token reads its key and value and writes them into the cache."""
    tokens = np.asarray(work.sequences) * work.tokens
    streams = 2.0 * work.token_bytes * work.tokens / (own.cache * device.memory_bandwidth)
    threads = np.minimum(np.asarray(work.kv_heads) * work.width / 2, APPEND_THREADS)
    return np.hypot(streams, tokens * own.append * threads / RESIDENT_THREADS / device.multiprocessors)


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
    """Flash attention backward.

    Five products of each pair for the forward's two, as it recomputes the scores: three as wide as keys, two
    as wide as values (FlashAttention-2, section 3.1.2).
    """
    value_dim = head_dim if value_dim is None else value_dim
    work = Prefill(
        sequences=sequences,
        tokens=tokens,
        past_tokens=0,
        heads=heads,
        kv_heads=kv_heads,
        width=head_dim + value_dim,
        item_bytes=PARAMETER_BYTES[precision],
        causal=causal,
    )
    peak = peak_flops_per_s(device, precision)
    moving = 2.0 * work.moved_bytes / device.memory_bandwidth
    per_pair = 2.0 * (3.0 * head_dim + 2.0 * value_dim) / peak
    floor = np.maximum(sequences * heads * per_pair * work.pairs, moving)
    fit = device.kernels.attention
    if isinstance(fit, FlatFit):
        return floor / fit.share + fit.launch
    own = fit.backward
    per_pair = per_pair / own.share * np.maximum(np.asarray(head_dim) / NARROW, 1.0) ** own.wide
    computing = sequences * heads * per_pair * (work.pairs + np.asarray(tokens) * own.keys)
    longest = own.tail * per_pair * device.multiprocessors * np.minimum(tokens, BLOCK) * (tokens + own.keys)
    return np.maximum(fit.prefill.launch + moving / fit.prefill.rows + computing + longest, floor)


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

    Softmax (scale and mask fused) reads and writes the scores, dropout reads and writes them and writes a
    mask of one byte (Korthikanti et al. 2205.05198, section 4.1); backward, dropout reads and writes and
    softmax reads two and writes one, and there are two products for each. No product skips the masked half.
    Keys and values that several heads share are copied for each.
    """
    item = PARAMETER_BYTES[precision]
    matrices = sequences * heads
    scoring = gemm_seconds(device, tokens, tokens, head_dim, precision=precision, groups=matrices)
    weighing = gemm_seconds(device, tokens, head_dim, tokens, precision=precision, groups=matrices)
    scores = 1.0 * matrices * tokens * tokens
    copied = 2.0 * item * sequences * tokens * head_dim * (heads + kv_heads) * (np.asarray(heads) > kv_heads)
    streams = elementwise_seconds(
        device, np.asarray(scores * (item * (5 if backward else 4) + 1) + copied), kernels=2
    )
    return (2 if backward else 1) * (scoring + weighing) + streams
