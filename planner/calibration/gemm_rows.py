"""Measured matrix products: their columns, and what the costs predict for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.calibration.rows import Row
from planner.costs.kernels.gemm import gemm_fit, gemm_seconds, quantize_seconds
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FlatFit
from planner.domain.model import Precision

Floats = NDArray[np.float64]

PRECISIONS: dict[str, Precision] = {
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp16": "fp16",
    "fp8": "fp8",
    "float32": "fp32",
    "fp32": "fp32",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row."""

    line: int
    source: str
    dtype: str
    m: int
    n: int
    k: int
    seconds: float

    @property
    def precision(self) -> Precision | None:
        """None for types that have no cost model."""
        return PRECISIONS.get(self.dtype.lower())

    @property
    def engine(self) -> str:
        """The serving engine without its version."""
        return self.source.partition("-")[0].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Rows of one device and precision, column by column."""

    m: Floats
    n: Floats
    k: Floats
    seconds: Floats
    engines: NDArray[np.str_]
    precision: Precision

    def chosen(self, mask: NDArray[np.bool_] | NDArray[np.int64]) -> "Products":
        """Some of them."""
        return Products(
            m=self.m[mask],
            n=self.n[mask],
            k=self.k[mask],
            seconds=self.seconds[mask],
            engines=self.engines[mask],
            precision=self.precision,
        )

    @property
    def is_wide(self) -> NDArray[np.bool_]:
        """Whether both sides of the weight are at least 512."""
        return np.asarray((self.n >= 512) & (self.k >= 512))


def measured_of(row: Row) -> Measured:
    """The fields of a row.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """
    return Measured(
        line=row.line,
        source=row.optional_text("framework") or row.optional_text("source") or "unnamed",
        dtype=row.text("dtype"),
        m=row.count("m"),
        n=row.count("n"),
        k=row.count("k"),
        seconds=row.number("latency_ms") * 1e-3,
    )


def products_of(rows: Sequence[Measured], precision: Precision) -> Products:
    """Rows of one precision as columns."""
    return Products(
        m=np.array([row.m for row in rows], dtype=np.float64),
        n=np.array([row.n for row in rows], dtype=np.float64),
        k=np.array([row.k for row in rows], dtype=np.float64),
        seconds=np.array([row.seconds for row in rows]),
        engines=np.array([row.engine for row in rows]),
        precision=precision,
    )


def predicted_seconds(device: DeviceSpec, products: Products) -> Floats:
    """Seconds of each row; engines narrow their activations in the rows of 8 bits."""
    of = products
    seconds = np.asarray(gemm_seconds(device, of.m, of.n, of.k, precision=of.precision))
    if of.precision == "fp8":
        seconds = seconds + quantize_seconds(device, of.m, of.k)
    return seconds * engine_factors(device, products)


def engine_factors(device: DeviceSpec, products: Products) -> Floats:
    """How the serving engine of each row differs from all of them, 1 for engines that are not known."""
    fit = gemm_fit(device, products.precision)
    known = {} if isinstance(fit, FlatFit) else fit.engines
    names, places = np.unique(products.engines, return_inverse=True)
    return np.array([known.get(str(name), 1.0) for name in names])[places]
