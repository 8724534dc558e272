"""Measured attention kernels: rows as arrays, their predictions, their evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.calibration.rows import Row, parse_all
from planner.costs.attention import decode_attention_seconds, prefill_attention_seconds
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import Residuals

Floats = npt.NDArray[np.float64]
Predict = Callable[[DeviceSpec, "Shapes", str | None], Floats]
"""Seconds of all rows by the kernels of an engine."""

UNKNOWN = Residuals(rows=0, mape=0.3, p90=0.6, low=-0.7, high=0.7)
"""Of a device without fitted attention: a guess of a factor of two either way."""


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
    engines: npt.NDArray[np.str_]
    """Empty where a row names none."""

    def chosen(self, mask: npt.NDArray[np.bool_]) -> "Shapes":
        """The rows where the mask is true."""
        return Shapes(**{name: getattr(self, name)[mask] for name in self.__slots__})

    @property
    def groups(self) -> list[tuple[float, float, float]]:
        """Of each row, the heads, which stand for a model and its tensor-parallel size."""
        return list(zip(self.heads.tolist(), self.kv_heads.tolist(), self.head_dim.tolist(), strict=True))


def columns_of(length: str) -> tuple[str, ...]:
    """Columns of a file whose tokens per sequence are called ``length``."""
    return ("batch_size", length, "num_heads", "num_kv_heads", "head_dim", "latency_ms")


def shapes_of(rows: Sequence[Row], *, length: str) -> Shapes:
    """Rows as arrays.

    Raises
    ------
    RowError
        A field is not what its column needs.
    """
    columns = columns_of(length)

    def parse(row: Row) -> tuple[float, ...]:
        return (*(float(row.count(column)) for column in columns[:-1]), row.number("latency_ms") / 1e3)

    table = np.array(parse_all(rows, parse), dtype=np.float64).reshape(-1, len(columns)).T
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
