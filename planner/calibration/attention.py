"""Fit attention kernels to measured rows: prefill and decode for each serving engine and for all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from planner.calibration.residuals import residuals_of
from planner.calibration.rows import Row, read_rows
from planner.costs.attention import decode_attention_seconds, prefill_attention_seconds
from planner.domain.catalog import read_device
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import (
    AttentionFit,
    BackwardFit,
    DecodeFit,
    EngineAttention,
    FitRecord,
    PrefillFit,
    Residuals,
)
from planner.domain.quantities import Value

Floats = npt.NDArray[np.float64]
_Fit = TypeVar("_Fit", bound=Value)

SOURCE = "ai-dynamo/aiconfigurator @095f58a5, Apache-2.0"
DATE = "2026-11-20"
FILES = {"a100-sxm-80gb": "a100_sxm", "h100-sxm-80gb": "h100_sxm"}
FOLDS = 5
NO_RECORD = FitRecord(source="", date="", rows=0, held_out=Residuals(rows=0, mape=0, p90=0, low=0, high=0))

PREFILL_START = {
    "share": (0.6, 0.05, 1.0),
    "keys": (150.0, 1.0, 3000.0),
    "tail": (0.5, 0.01, 20.0),
    "overlap": (1.2, 1.0, 6.0),
    "block": (3e-7, 1e-9, 1e-5),
    "streams": (0.7, 0.02, 1.0),
    "launch": (1e-5, 1e-6, 1e-4),
}
"""Where the search for each coefficient starts, and its bounds."""
DECODE_START = {
    "share": (0.85, 0.1, 0.99),
    "queries": (1.0, 0.05, 50.0),
    "cache": (1.6, 0.3, 20.0),
    "warm": (0.6, 0.1, 3.0),
    "cold": (0.5, 0.05, 5.0),
    "compute": (0.5, 0.05, 5.0),
    "unit": (3e-6, 1e-8, 1e-4),
    "chain": (1e-10, 1e-13, 1e-7),
    "lone_chain": (1e-10, 1e-13, 1e-7),
    "combine": (1e-6, 1e-8, 1e-5),
    "overlap": (1.5, 1.0, 6.0),
    "launch": (1e-5, 1e-6, 1e-4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Measured attention kernels, one element of each array per row."""

    engines: npt.NDArray[np.str_]
    sequences: Floats
    length: Floats
    """Tokens per sequence: new ones of prefill, cached ones of decode."""
    heads: Floats
    kv_heads: Floats
    head_dim: Floats
    seconds: Floats

    def chosen(self, mask: npt.NDArray[np.bool_]) -> "Shapes":
        """The rows where the mask is true."""
        return Shapes(**{name: getattr(self, name)[mask] for name in self.__slots__})

    @property
    def groups(self) -> list[tuple[float, float, float]]:
        """Of each row, the heads that stand for a model on some tensor-parallel size."""
        return list(zip(self.heads, self.kv_heads, self.head_dim, strict=True))


def shapes_of(rows: Sequence[Row], *, length: str) -> Shapes:
    """Rows as arrays; ``length`` is the column of tokens per sequence."""
    counts = {
        "sequences": "batch_size",
        "length": length,
        "heads": "num_heads",
        "kv_heads": "num_kv_heads",
        "head_dim": "head_dim",
    }
    columns = {
        name: np.array([row.count(column) for row in rows], dtype=float) for name, column in counts.items()
    }
    engines = np.array([row.optional_text("framework") or "" for row in rows], dtype=str)
    seconds = np.array([row.number("latency_ms") for row in rows]) / 1e3
    return Shapes(engines=engines, seconds=seconds, **columns)


def fit(folder: Path) -> dict[str, AttentionFit]:
    """Attention fits of every measured device, by the device's name."""
    return {name: _device_fit(read_device(name), folder, stem) for name, stem in FILES.items()}


def _device_fit(device: DeviceSpec, folder: Path, stem: str) -> AttentionFit:
    prefill = _measured(folder / f"attention_prefill_{stem}.csv", length="seq_len")
    decode = _measured(folder / f"attention_decode_{stem}.csv", length="kv_len")
    forward = fit_prefill(device, prefill)
    return AttentionFit(
        prefill=forward,
        backward=BackwardFit(
            share=0.84 * forward.share, keys=forward.keys / 2, tail=forward.tail, record=forward.record
        ),
        decode=fit_decode(device, decode),
        engines={
            name: EngineAttention(
                prefill=fit_prefill(device, prefill.chosen(prefill.engines == name)),
                decode=fit_decode(device, decode.chosen(decode.engines == name)),
            )
            for name in sorted(set(prefill.engines) & set(decode.engines))
        },
    )


def _measured(path: Path, *, length: str) -> Shapes:
    columns = ("batch_size", length, "num_heads", "num_kv_heads", "head_dim", "latency_ms")
    return shapes_of(read_rows(path, columns=columns), length=length)


def fit_prefill(device: DeviceSpec, shapes: Shapes) -> PrefillFit:
    """Prefill coefficients, with the residuals of heads that the fit had not seen."""
    return _fit_recorded(PrefillFit, PREFILL_START, shapes, lambda own, of: prefill_seconds(device, own, of))


def fit_decode(device: DeviceSpec, shapes: Shapes) -> DecodeFit:
    """Decode coefficients, with the residuals of heads that the fit had not seen."""
    return _fit_recorded(DecodeFit, DECODE_START, shapes, lambda own, of: decode_seconds(device, own, of))


def prefill_seconds(device: DeviceSpec, own: PrefillFit, shapes: Shapes) -> Floats:
    """Predicted seconds of every row."""
    return np.asarray(
        prefill_attention_seconds(
            with_fit(device, prefill=own),
            sequences=shapes.sequences,
            tokens=shapes.length,
            heads=shapes.heads,
            kv_heads=shapes.kv_heads,
            head_dim=shapes.head_dim,
        )
    )


def decode_seconds(device: DeviceSpec, own: DecodeFit, shapes: Shapes) -> Floats:
    """Predicted seconds of every row."""
    return np.asarray(
        decode_attention_seconds(
            with_fit(device, decode=own),
            sequences=shapes.sequences,
            context=shapes.length,
            heads=shapes.heads,
            kv_heads=shapes.kv_heads,
            head_dim=shapes.head_dim,
            warm=True,
        )
    )


def with_fit(device: DeviceSpec, **parts: Any) -> DeviceSpec:
    """The device with these parts of an attention fit and no others."""
    attention = AttentionFit.model_construct(**{"engines": {}, **parts})
    return device.model_copy(update={"kernels": device.kernels.model_copy(update={"attention": attention})})


def _fit_recorded(
    kind: type[_Fit],
    start: Mapping[str, tuple[float, float, float]],
    shapes: Shapes,
    seconds: Callable[[_Fit, Shapes], Floats],
) -> _Fit:
    held_out = np.empty_like(shapes.seconds)
    fold = _folds(shapes.groups)
    for index in range(FOLDS):
        unseen = fold == index
        held_out[unseen] = seconds(
            _fit_once(kind, start, shapes.chosen(~unseen), seconds), shapes.chosen(unseen)
        )
    record = FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(shapes.seconds),
        held_out=residuals_of(shapes.seconds, held_out, shapes.groups),
    )
    return _fit_once(kind, start, shapes, seconds).model_copy(update={"record": record})


def _folds(groups: Sequence[tuple[float, ...]]) -> npt.NDArray[np.int64]:
    order = {group: index % FOLDS for index, group in enumerate(sorted(set(groups)))}
    return np.array([order[group] for group in groups])


def _fit_once(
    kind: type[_Fit],
    start: Mapping[str, tuple[float, float, float]],
    shapes: Shapes,
    seconds: Callable[[_Fit, Shapes], Floats],
) -> _Fit:
    """Coefficients of least absolute-like error in the logarithm, each searched on a logarithmic scale."""

    def made(logs: Floats) -> _Fit:
        values = dict(zip(start, np.exp(logs).tolist(), strict=True))
        return kind.model_validate({**values, "record": NO_RECORD})

    initial, low, high = np.log(np.array(list(start.values()))).T
    found = least_squares(
        lambda logs: np.log(seconds(made(logs), shapes) / shapes.seconds),
        initial,
        bounds=(low, high),
        loss="soft_l1",
        f_scale=0.1,
    )
    return made(found.x)
