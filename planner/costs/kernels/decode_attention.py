"""Seconds of decode attention: one query token per sequence against its cached keys and values.

Kernels read the cache once, one block of threads per key-value head of a sequence ("unit"); while blocks are
fewer than the device holds at once, contexts are split among more of them (Flash-Decoding, Dao et al. 2023).
The coefficients come from measured rows (`planner.calibration.attention`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.costs.kernels.gemm import Numbers
from planner.costs.kernels.norms import norm
from planner.costs.kernels.peaks import peak_flops_per_s
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import DecodeFit, FlatFit
from planner.domain.model import PARAMETER_BYTES, Precision

TILE_HEADS = 16
"""Query heads of a group that one matrix instruction takes at least."""
SPLIT_CONTEXT = 128
"""Cached tokens of the least part of a split context."""
LONG_CONTEXT = 512
_FEWEST_UNITS = 1e-9
"""Above none, so that no sequences at all take no more than a launch."""
BUSY = 0.8
"""Share of the device's blocks from which kernels don't split (FlashAttention's ``num_splits_heuristic``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """The work of one decode kernel; each a number or an array."""

    sequences: Numbers
    context: Numbers
    heads: Numbers
    kv_heads: Numbers
    head_dim: Numbers
    item_bytes: int

    @property
    def units(self) -> Any:
        return 1.0 * self.sequences * self.kv_heads

    @property
    def group(self) -> Any:
        """Query heads per key-value head."""
        return np.asarray(self.heads) / self.kv_heads

    @property
    def cached_bytes(self) -> Any:
        return 2.0 * self.item_bytes * self.units * self.context * self.head_dim

    @property
    def row_bytes(self) -> Any:
        """Queries and outputs."""
        return 2.0 * self.item_bytes * self.sequences * self.heads * self.head_dim

    @property
    def flops(self) -> Any:
        return 4.0 * self.sequences * self.heads * self.context * self.head_dim


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
    """One query token per sequence against ``context`` cached tokens each.

    Parameters
    ----------
    context
        Cached tokens per sequence; may be a mean.
    engine
        Serving engine, with or without its version, whose own kernels are used where they were measured.
    warm
        Keys and values that fit into the shared cache are found there, as when one kernel is measured again
        and again; in a model other layers have evicted them.
    """
    work = Decode(
        sequences=sequences,
        context=context,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        item_bytes=PARAMETER_BYTES[precision],
    )
    peak = peak_flops_per_s(device, precision)
    floor = np.maximum(work.flops / peak, (work.cached_bytes + work.row_bytes) / device.memory_bandwidth)
    fit = device.kernels.attention
    if isinstance(fit, FlatFit):
        return floor / fit.share + fit.launch
    return np.maximum(_split_seconds(device, fit.of(engine).decode, work, peak=peak, warm=warm), floor)


def _split_seconds(device: DeviceSpec, own: DecodeFit, work: Decode, *, peak: float, warm: bool) -> Any:
    load = np.maximum(work.units, _FEWEST_UNITS) / (own.blocks * device.multiprocessors)
    waves = np.where(load > (1.0 if own.whole else BUSY), np.ceil(load), 1.0)
    splits = _splits(own, work, load)
    context, wide = np.asarray(work.context, dtype=float), np.asarray(work.head_dim) / 128
    chain = own.chain * wide * waves * context / splits
    streams = _stream_seconds(
        device, own, work, idle=np.maximum(waves / load, 1.0) * (load >= BUSY), warm=warm
    )
    padded = work.flops * np.maximum(1.0, TILE_HEADS / work.group) / (own.compute * peak)
    together = norm(own.overlap, own.unit * np.maximum(load, 1.0), streams, chain, padded)
    doublings = np.log2(np.maximum(context / SPLIT_CONTEXT, 1.0))
    return (
        own.launch
        + own.regroup
        * ((np.asarray(work.sequences) > 1) & (np.asarray(work.kv_heads) > 1) & (work.group > 1))
        + own.token * context
        + own.long_unit * load * (context >= LONG_CONTEXT)
        + (own.split + own.doubling * doublings) * (context > SPLIT_CONTEXT)
        + together
    )


def _splits(own: DecodeFit, work: Decode, load: Any) -> Any:
    """Parts of each context: as many as idle blocks, the kernel's own limit and the context allow."""
    splits = 1.0 / load
    if own.parts is not None:
        splits = np.minimum(splits, np.maximum(own.parts / np.maximum(work.sequences, 1.0), 2.0))
    if own.whole:
        splits = np.floor(splits)
    most = np.maximum(np.asarray(work.context) / SPLIT_CONTEXT, 1.0)
    if not own.lone:
        most = np.where(work.group > 1, most, 1.0)
    return np.clip(splits, 1.0, most)


def _stream_seconds(device: DeviceSpec, own: DecodeFit, work: Decode, *, idle: Any, warm: bool) -> Any:
    """Keys and values from memory, or as far as they fit from the shared cache; queries and outputs."""
    missed: Any = 1.0
    if warm and device.l2:
        filled = (work.cached_bytes / (device.l2 * own.cache_reach)) ** own.cache_power
        missed = filled / (1.0 + filled)
    pace = missed / own.share * np.maximum(idle, 1.0) ** own.waste + (1.0 - missed) / own.cache
    return (work.cached_bytes * pace + work.row_bytes / own.rows) / device.memory_bandwidth
