"""Fitted coefficients of kernels and collectives, as `python -m planner.calibration` writes them.

Every coefficient is a share of the data sheet's rates, a count or a time, so that a device without
measurements can take those of its architecture's measured relative.
"""

from typing import Literal

from pydantic import Field

from planner.domain.quantities import Seconds, Value


class Residuals(Value):
    """What is left unexplained: statistics of log(measured / predicted) on rows that the fit had not seen."""

    rows: int = Field(ge=0)
    mape: float = Field(ge=0)
    """Mean of |predicted / measured - 1|."""
    p90: float = Field(ge=0)
    """90th percentile of the same."""
    low: float
    """5th percentile of log(measured / predicted)."""
    high: float
    """95th percentile of the same."""
    shared: float = Field(default=0.0, ge=0)
    """Standard deviation of the part that rows of one group (same model and stack) have in common."""
    own: float = Field(default=0.0, ge=0)
    """Standard deviation of the rest."""
    coverage: float | None = Field(default=None, ge=0, le=1)
    """Share of the rows inside the 90 % band that the rows of other groups span."""


class FitRecord(Value):
    """Where coefficients come from, and how well they hold."""

    source: str
    date: str
    rows: int = Field(ge=0)
    covers: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Least and greatest of what the rows had: ``devices``, ``tokens`` of a sequence, ``parameters``."""
    held_out: Residuals


class FlatFit(Value):
    """One stated share of the data sheet's rate, for a device that nothing is known of."""

    kind: Literal["flat"] = "flat"
    share: float = Field(gt=0, le=1)
    launch: Seconds = 0.0
    """Per kernel."""


class GemmFit(Value):
    """Matrix multiplication: tiles, waves, split-K and caches."""

    kind: Literal["tiles"] = "tiles"
    share: float = Field(gt=0)
    """Of the peak, inside the k-loop of a large tile."""
    edge: float = Field(ge=0)
    """Half the tile side at which loads take a square tile half of its share."""
    row_edge: float = Field(ge=0)
    """The same for its rows alone."""
    prologue: float = Field(ge=0)
    """Steps of k that a thread block spends before and after its loop."""
    overlap: float = Field(ge=0, le=1)
    """Of partial waves: 1 is no quantisation."""
    saturation: float = Field(gt=0)
    """Thread blocks per multiprocessor that saturate the memory."""
    saturation_power: float = Field(ge=0)
    norm: float = Field(ge=1)
    """Exponent that joins computing and moving; infinite is their maximum."""
    memory_share: float = Field(gt=0, le=1)
    cache_share: float = Field(gt=0)
    """Speed of the L2 cache over the memory's bandwidth."""
    cache_reach: float = Field(gt=0)
    """Share of the L2 cache at which half is found in it."""
    cache_power: float = Field(gt=0)
    launch: Seconds
    split_launch: Seconds
    record: FitRecord


class PrefillFit(Value):
    """Flash attention over many query tokens per sequence."""

    share: float = Field(gt=0, le=1)
    """Of the peak, on long sequences."""
    keys: float = Field(ge=0)
    """Per query token, what a block does outside its inner loop and above the diagonal, as so many keys."""
    tail: float = Field(ge=0)
    """Of the time of the longest block of queries: what runs on when the other multiprocessors are done."""
    overlap: float = Field(default=1.0, ge=1)
    """How blocks and the longest block add up: their p-norm; 1 is their sum."""
    block: Seconds = 0.0
    """Starting one block of queries."""
    streams: float = Field(gt=0, le=1)
    """Of the memory bandwidth, for reading queries, keys and values and writing the cache and the output."""
    launch: Seconds
    record: FitRecord


class BackwardFit(Value):
    """Backward of flash attention, beside the forward that it belongs to."""

    share: float = Field(gt=0, le=1)
    """Of the peak, on long sequences."""
    keys: float = Field(ge=0)
    tail: float = Field(ge=0)
    record: FitRecord


class DecodeFit(Value):
    """One query token per sequence against its cache."""

    share: float = Field(gt=0, le=1)
    """Of the memory bandwidth."""
    queries: float = Field(gt=0)
    """The same for queries and outputs, which may lie in caches."""
    cache: float = Field(gt=0)
    """Bandwidth of the cache that multiprocessors share, as a multiple of the memory bandwidth."""
    warm: float = Field(ge=0)
    """Share of the cache that keys and values may fill before the first of them are evicted."""
    cold: float = Field(gt=0)
    """Further share of it by which all of them are."""
    compute: float = Field(gt=0)
    """Share of the peak with groups of query heads padded to a tile."""
    unit: Seconds
    """One key-value head of one sequence on a multiprocessor, whatever its length."""
    chain: Seconds
    """Reading 128 values of keys and 128 of values in one block, when too few blocks are in flight."""
    lone_chain: Seconds
    """The same where each query head has its own keys, which some kernels don't split."""
    combine: Seconds
    """Per doubling of the context: finding and joining the parts of split contexts."""
    overlap: float = Field(ge=1)
    """How these add up: their p-norm."""
    launch: Seconds
    record: FitRecord


class EngineAttention(Value):
    """The kernels that one serving engine uses."""

    prefill: PrefillFit
    decode: DecodeFit


class AttentionFit(Value):
    """Prefill, backward and decode attention."""

    kind: Literal["flash"] = "flash"
    prefill: PrefillFit
    """Of whatever engine."""
    backward: BackwardFit
    decode: DecodeFit
    engines: dict[str, EngineAttention] = Field(default_factory=dict)
    """Of engines measured on their own, by name and version, such as ``vllm-0.14.0``."""


class ElementwiseFit(Value):
    """Memory-bound kernels: norms, activations, rotary embedding, residuals, cross-entropy, optimizer."""

    kind: Literal["streams"] = "streams"
    share: float = Field(gt=0, le=1)
    """Of the memory's bandwidth."""
    launch: Seconds
    """Per kernel."""
    record: FitRecord


class CollectiveFit(Value):
    """Collectives inside a node and across nodes."""

    kind: Literal["protocols"] = "protocols"
    record: FitRecord
