"""Measured attention kernels: rows as arrays, and their predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.calibration.rows import Row, parse_all
from planner.costs.kernels.attention import decode_attention_seconds, prefill_attention_seconds
from planner.domain.cluster import DeviceSpec

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

LONG_PREFILL, SHORT_PREFILL = "0.1 TFLOP and more", "less than 0.1 TFLOP"
LONG_FLOPS = 1e11
GROUPED_DECODE, OTHER_DECODE = "GQA 4 to 8, context 256 and more", "other groups or contexts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Attention kernels, one element of each array per row."""

    sequences: Floats
    length: Floats
    """Tokens per sequence: new ones of prefill, cached ones of decode."""
    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    seconds: Floats
    engines: Names
    """Empty where a row names none."""

    def chosen(self, mask: npt.NDArray[np.bool_]) -> "Shapes":
        """The rows where the mask is true."""
        return Shapes(**{name: getattr(self, name)[mask] for name in self.__slots__})

    @property
    def groups(self) -> list[str]:
        """Of each row, its heads, which stand for a model and its tensor-parallel size."""
        heads = zip(self.heads, self.kv_heads, self.head_dim, strict=True)
        return [f"{query:g} heads, {kv:g} key-value heads of {width:g}" for query, kv, width in heads]


def columns_of(length: str) -> tuple[str, ...]:
    """Columns of a file whose tokens per sequence are called ``length``."""
    return ("batch_size", length, "num_heads", "num_kv_heads", "head_dim", "latency_ms")


def shapes_of(rows: Sequence[Row], *, length: str) -> Shapes:
    """Rows as arrays; no key-value heads means as many as query heads.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """

    def parse(row: Row) -> tuple[float, ...]:
        heads = row.count("num_heads")
        kv_heads = heads if row.optional_text("num_kv_heads") == "0" else row.count("num_kv_heads")
        sizes = (row.count("batch_size"), row.count(length), heads, kv_heads, row.count("head_dim"))
        return (*map(float, sizes), row.number("latency_ms") / 1e3)

    table = np.array(parse_all(rows, parse), dtype=np.float64).reshape(-1, len(columns_of(length))).T
    return Shapes(
        sequences=table[0],
        length=table[1],
        heads=table[2],
        kv_heads=table[3],
        head_dim=table[4],
        seconds=table[5],
        engines=np.array([row.optional_text("framework") or "" for row in rows], dtype=np.str_),
    )


def prefill_seconds(device: DeviceSpec, shapes: Shapes, engine: str | None = None) -> Floats:
    """Predicted seconds of prefill rows."""
    return np.asarray(
        prefill_attention_seconds(
            device,
            sequences=shapes.sequences,
            tokens=shapes.length,
            heads=shapes.heads,
            kv_heads=shapes.kv_heads,
            head_dim=shapes.head_dim,
            engine=engine,
        )
    )


def decode_seconds(device: DeviceSpec, shapes: Shapes, engine: str | None = None) -> Floats:
    """Predicted seconds of decode rows, which were measured again and again on the same cache."""
    return np.asarray(
        decode_attention_seconds(
            device,
            sequences=shapes.sequences,
            context=shapes.length,
            heads=shapes.heads,
            kv_heads=shapes.kv_heads,
            head_dim=shapes.head_dim,
            engine=engine,
            warm=True,
        )
    )


def prefill_parts(shapes: Shapes) -> Names:
    """The part of each row, whose residuals differ: long or short, FLOPs of masked scores not counted."""
    flops = 2.0 * shapes.sequences * shapes.heads * shapes.head_dim * shapes.length**2
    return np.where(flops >= LONG_FLOPS, LONG_PREFILL, SHORT_PREFILL)


def decode_parts(shapes: Shapes) -> Names:
    """The part of each row, whose residuals differ."""
    group = shapes.heads / shapes.kv_heads
    is_grouped = (group >= 4) & (group <= 8) & (shapes.length >= 256)
    return np.where(is_grouped, GROUPED_DECODE, OTHER_DECODE)
