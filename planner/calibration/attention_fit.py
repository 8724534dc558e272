"""Fit prefill and decode attention to measured rows."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from planner.calibration.attention_rows import (
    GROUPED_DECODE,
    LONG_PREFILL,
    Names,
    Shapes,
    decode_parts,
    decode_seconds,
    prefill_parts,
    prefill_seconds,
)
from planner.calibration.residuals import residuals_of
from planner.calibration.search import Search, folds_of
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import (
    AttentionFit,
    DecodeFit,
    FitRecord,
    PrefillFit,
    Residuals,
)
from planner.domain.quantities import Value

_Fit = TypeVar("_Fit", bound=Value)

SOURCE = "ai-dynamo/aiconfigurator @095f58a5, Apache-2.0"
DATE = "2026-11-20"
AIM_WEIGHT = 1.5
"""Of rows that matter most."""
SCORE_SECONDS = 2.5e-11
"""Where one width of heads was measured: what H100 shows; multiprocessors have equal exponential units."""
NO_RECORD = FitRecord(source="", date="", rows=0, held_out=Residuals(rows=0, mape=0, p90=0, low=0, high=0))

PREFILL_START = {
    "share": (0.65, 0.05, 1.0),
    "score": (SCORE_SECONDS, 1e-12, 2e-10),
    "keys": (50.0, 0.1, 2000.0),
    "block": (3e-7, 1e-9, 1e-5),
    "tail": (0.5, 0.01, 10.0),
    "overlap": (1.5, 1.0, 8.0),
    "heat": (1e-2, 2e-3, 0.1),
    "slowdown": (0.1, 1e-4, 0.5),
    "rows": (0.8, 0.02, 2.0),
    "cache": (0.9, 0.02, 1.0),
    "append": (2e-6, 1e-8, 1e-4),
    "launch": (1.1e-5, 1e-6, 1e-4),
}
"""Where the search for each coefficient starts, and its bounds."""
DECODE_START = {
    "share": (0.85, 0.2, 0.99),
    "waste": (0.4, 1e-3, 1.0),
    "rows": (1.0, 0.05, 50.0),
    "cache": (1.6, 1.0, 20.0),
    "cache_reach": (0.8, 0.05, 3.0),
    "cache_power": (3.0, 1.0, 12.0),
    "compute": (0.5, 0.03, 5.0),
    "unit": (3e-6, 1e-8, 1e-4),
    "long_unit": (1e-6, 1e-9, 1e-4),
    "chain": (2e-8, 1e-10, 1e-6),
    "token": (1e-11, 1e-13, 1e-9),
    "split": (2e-6, 1e-8, 2e-5),
    "doubling": (5e-7, 1e-8, 1e-5),
    "regroup": (1e-6, 1e-8, 2e-5),
    "overlap": (1.6, 1.0, 6.0),
    "launch": (1e-5, 5e-6, 3e-5),
}
SPLITTING = tuple(
    {"blocks": blocks, "whole": whole, "lone": lone, "parts": parts}
    for blocks, whole, parts in ((1, False, None), (1, True, None), (1, False, 32), (2, False, None))
    for lone in (True, False)
)
"""Ways to split contexts that a decode kernel may have; the one that fits best is taken."""


def fit_prefill(device: DeviceSpec, shapes: Shapes) -> PrefillFit:
    """Prefill coefficients, with the residuals of heads that the fit had not seen.

    Rows of one token are decode steps and left out.
    """
    shapes = shapes.chosen(shapes.length > 1)
    search = prefill_search(device, shapes)
    values = search.values(shapes)
    record = _record(search, shapes, values, prefill_parts(shapes))
    return checked(PrefillFit.model_construct(**values, record=record))


def fit_decode(device: DeviceSpec, shapes: Shapes) -> DecodeFit:
    """Decode coefficients, with the residuals of heads that the fit had not seen."""
    search = decode_search(device, shapes)
    values = search.values(shapes)
    record = _record(search, shapes, values, decode_parts(shapes))
    return checked(DecodeFit.model_construct(**values, record=record))


def prefill_search(device: DeviceSpec, shapes: Shapes) -> Search[Shapes]:
    """How prefill coefficients are searched."""
    start = dict(PREFILL_START)
    fixed: dict[str, Any] = {}
    if len(set(shapes.head_dim.tolist())) == 1:
        fixed["score"] = start.pop("score")[0]
    return Search(
        start=start,
        options=tuple({**fixed, "packed": packed} for packed in (False, True)),
        weights=np.where(prefill_parts(shapes) == LONG_PREFILL, AIM_WEIGHT, 1.0),
        predict=lambda values, of: prefill_seconds(with_attention(device, prefill=_prefill(values)), of),
    )


def decode_search(device: DeviceSpec, shapes: Shapes) -> Search[Shapes]:
    """How decode coefficients are searched."""
    return Search(
        start=DECODE_START,
        options=SPLITTING,
        weights=np.where(decode_parts(shapes) == GROUPED_DECODE, AIM_WEIGHT, 1.0),
        predict=lambda values, of: decode_seconds(with_attention(device, decode=_decode(values)), of),
    )


def _record(search: Search[Shapes], shapes: Shapes, values: Mapping[str, Any], parts: Names) -> FitRecord:
    predicted = search.held_out(shapes, folds_of(shapes.groups), values)
    groups = np.array(shapes.groups)

    def residuals(mask: npt.NDArray[np.bool_]) -> Residuals:
        return residuals_of(shapes.seconds[mask], predicted[mask], groups[mask].tolist())

    return FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(shapes.seconds),
        covers={"tokens": (float(shapes.length.min()), float(shapes.length.max()))},
        held_out=residuals(np.ones(len(groups), dtype=np.bool_)),
        parts={part: residuals(parts == part) for part in sorted(set(parts.tolist()))},
    )


def checked(fitted: _Fit) -> _Fit:
    """The same, read as from a file."""
    return type(fitted).model_validate(fitted.model_dump(mode="json"))


def _prefill(values: Mapping[str, Any]) -> PrefillFit:
    return PrefillFit.model_construct(**values, record=NO_RECORD)


def _decode(values: Mapping[str, Any]) -> DecodeFit:
    return DecodeFit.model_construct(**values, record=NO_RECORD)


def with_attention(device: DeviceSpec, **parts: Any) -> DeviceSpec:
    """The device with these parts of an attention fit and no others."""
    attention = AttentionFit.model_construct(**{"prefill": None, "decode": None, "engines": {}, **parts})
    return device.model_copy(update={"kernels": device.kernels.model_copy(update={"attention": attention})})
