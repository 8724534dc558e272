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


class FitRecord(Value):
    """Where coefficients come from, and how well they hold."""

    source: str
    date: str
    rows: int = Field(ge=0)
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


class AttentionFit(Value):
    """Prefill and decode attention."""

    kind: Literal["flash"] = "flash"
    record: FitRecord


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
