"""Fit kernels that stream through memory to measured ones of transformer layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from planner.calibration.residuals import covers_of, parts_of, residuals_of
from planner.calibration.rows import Row, parse_all, read_rows
from planner.domain.catalog import read_device
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import ElementwiseFit, FitRecord, Stream, StreamFit

Floats = NDArray[np.float64]

SOURCE = "microsoft/vidur @7d475133, MIT"
DATE = "2026-11-20"
FILES = {"a100-sxm-80gb": "mlp_vidur_a100.csv", "h100-sxm-80gb": "mlp_vidur_h100.csv"}
COLUMNS = ("model", "tp", "num_tokens", "n_embd", "n_head", "n_kv_head", "ffn", "gated")
ELEMENT_BYTES = 2
"""The rows are in fp16."""
TICK = 1e-6
"""Medians are rounded to a part of this; shorter kernels say little."""
GREATEST_SHARE = 0.9
"""A kernel that reads what the one before has left in the cache passes the memory's bandwidth."""
GAP = 8e-7
"""Stated: between two kernels of a CUDA graph, which the rows, times of single kernels, leave out."""
ROBUST = 0.1

TIMES: Mapping[str, Stream] = MappingProxyType(
    {
        "add_ms": "plain",
        "input_layernorm_ms": "norm",
        "post_attention_layernorm_ms": "norm",
        "mlp_act_ms": "activation",
        "attn_rope_ms": "rotary",
        "emb_ms": "embedding",
    }
)
"""What each column of times measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One measured kernel."""

    kind: Stream
    model: str
    moved_bytes: float
    seconds: float


def fit(folder: Path) -> dict[str, ElementwiseFit]:
    """Fits of every measured device, by the device's name."""
    return {
        name: fit_device(read_device(name), streamed_of(read_rows(folder / file, columns=COLUMNS)))
        for name, file in FILES.items()
    }


def streamed_of(rows: Sequence[Row]) -> list[Streamed]:
    """All kernels of all rows; fields of kernels that a model lacks are empty."""
    return [kernel for found in parse_all(rows, _kernels_of) for kernel in found]


def _kernels_of(row: Row) -> list[Streamed]:
    moved = moved_bytes(row)
    times = {column: row.optional_text(column) for column in TIMES}
    return [
        Streamed(
            kind=kind,
            model=row.text("model"),
            moved_bytes=moved[kind],
            seconds=row.number(column) * 1e-3,
        )
        for column, kind in TIMES.items()
        if times[column] and row.number(column) * 1e-3 >= TICK
    ]


def moved_bytes(row: Row) -> dict[Stream, float]:
    """Bytes that each kernel of a row reads and writes.

    An addition reads two and writes one; a norm and a lookup read and write one; the gate reads two halves
    and writes one; the rotary embedding turns queries and keys in place.
    """
    tensor, heads = row.count("tp"), row.count("n_head")
    hidden, head_dim = row.count("n_embd"), row.count("n_embd") // heads
    turned = heads / tensor + max(row.count("n_kv_head") / tensor, 1)
    halves = 3 if row.optional_text("gated") == "1" else 2
    elements: dict[Stream, float] = {
        "plain": 3 * hidden,
        "norm": 2 * hidden,
        "activation": halves * row.count("ffn") / tensor,
        "rotary": 2 * turned * head_dim,
        "embedding": 2 * hidden,
    }
    return {kind: row.count("num_tokens") * ELEMENT_BYTES * count for kind, count in elements.items()}


def fit_device(device: DeviceSpec, kernels: Sequence[Streamed]) -> ElementwiseFit:
    """Each kind's coefficients, with the residuals of models that a fit of the others had not seen."""
    kinds = {kind: [each for each in kernels if each.kind == kind] for kind in dict.fromkeys(TIMES.values())}
    fits = {kind: fit_stream(device, own) for kind, own in kinds.items()}
    plain = fits.pop("plain")
    unseen = np.concatenate([held_out(device, own) for own in kinds.values()])
    ordered = [each for own in kinds.values() for each in own]
    measured, models = [each.seconds for each in ordered], [each.model for each in ordered]
    masks = {kind: np.array([each.kind == kind for each in ordered]) for kind in kinds}
    record = FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(ordered),
        covers=covers_of(moved_bytes=[each.moved_bytes for each in ordered]),
        held_out=residuals_of(measured, unseen, models),
        parts=parts_of(measured, unseen, models, {str(kind): mask for kind, mask in masks.items()}),
    )
    fitted = ElementwiseFit.model_construct(
        **dict(_in_graph(plain)), kinds={kind: _in_graph(each) for kind, each in fits.items()}, record=record
    )
    return ElementwiseFit.model_validate(fitted.model_dump(mode="json"))


def _in_graph(fitted: StreamFit) -> StreamFit:
    return fitted.model_copy(update={"launch": float(f"{fitted.launch + GAP:.4g}")})


def held_out(device: DeviceSpec, kernels: Sequence[Streamed]) -> Floats:
    """Predictions for the kernels of each model by a fit of all other models."""
    models = np.array([each.model for each in kernels])
    predicted = np.empty(len(kernels))
    for model in dict.fromkeys(models.tolist()):
        seen = [each for each in kernels if each.model != model]
        fitted = fit_stream(device, seen)
        moved = np.array([each.moved_bytes for each in kernels if each.model == model])
        predicted[models == model] = _seconds(device, moved, fitted.share, fitted.launch)
    return predicted


def fit_stream(device: DeviceSpec, kernels: Sequence[Streamed]) -> StreamFit:
    """Share of the bandwidth and launch, by least squares of logarithms."""
    moved = np.array([each.moved_bytes for each in kernels])
    logs = np.log([each.seconds for each in kernels])

    def errors(values: Floats) -> Floats:
        share, launch = np.exp(values)
        return np.asarray(np.log(_seconds(device, moved, share, launch)) - logs)

    bounds = np.log([[0.05, 1e-7], [GREATEST_SHARE, 1e-4]])
    found = least_squares(errors, np.log([0.5, 3e-6]), bounds=bounds, loss="soft_l1", f_scale=ROBUST)
    share, launch = (float(f"{value:.4g}") for value in np.exp(found.x))
    return StreamFit.model_construct(share=share, launch=launch)


def _seconds(device: DeviceSpec, moved: Floats, share: float, launch: float) -> Floats:
    return moved / (device.memory_bandwidth * share) + launch
