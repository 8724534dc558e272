"""Fit matrix products: coefficients of tiles and memory, then grids of what they leave unexplained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from planner.calibration.gemm_gradient import weight_gradient_factor
from planner.calibration.gemm_rows import (
    Floats,
    Measured,
    Products,
    measured_of,
    predicted_seconds,
    products_of,
)
from planner.calibration.grid_fit import Grid, fitted_grids
from planner.calibration.residuals import covers_of, parts_of, residuals_of
from planner.calibration.rows import parse_all, read_rows
from planner.calibration.search import FOLDS, folds_of
from planner.costs.kernels.tiles import Rates, Shapes, square_waves
from planner.domain.catalog import read_device
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FitRecord, GemmFit, GridFit, QuantizeFit, Residuals, TileFit
from planner.domain.model import Precision

COLUMNS = ("dtype", "m", "n", "k", "latency_ms")
SOURCE = "ai-dynamo/aiconfigurator @095f58a5, Apache-2.0"
DATE = "2026-11-20"
FILES = {"a100-sxm-80gb": "gemm_a100_sxm.csv", "h100-sxm-80gb": "gemm_h100_sxm.csv"}
GRADIENT_GPU = "A100-PCIe"
"""Whose weight gradients were measured, on multiprocessors as those of A100 SXM."""
AIM = "n, k >= 512"
NARROW_WEIGHT = 0.6
"""Of rows whose weights are smaller, in the grids."""
SAMPLE = 4000
"""Rows that coefficients are searched on; the grids take all."""
ROBUST = 0.03
"""Errors beyond this share count by their size, smaller ones by its square."""
START = {
    "loads": (5500.0, 300.0, 20000.0),
    "exposed": (0.15, 0.001, 1.0),
    "prologue": (170.0, 1.0, 1500.0),
    "residency": (1.5, 1.0, 6.0),
    "overlap": (0.3, 0.01, 1.0),
    "wave": (5e-7, 1e-9, 1e-6),
    "heat": (1.2e-3, 1e-6, 5e-3),
    "slowdown": (0.12, 1e-3, 0.5),
    "memory": (0.87, 0.84, 0.92),
    "latency": (1.5e-6, 1e-8, 1e-5),
    "reduce": (1.7, 0.1, 20.0),
    "norm": (4.0, 1.5, 20.0),
    "launch": (2e-6, 1.5e-6, 4e-6),
    "split_launch": (2.5e-6, 1e-8, 8e-6),
}
"""Where the search for each coefficient starts, its least and its greatest value.

Launches, waves and the share of the bandwidth stay within what such devices show elsewhere, since rows of one
device can't tell them apart, and a device known by its data sheet alone needs each of them right.
"""
TILES = {
    "256x128": 0.93,
    "192x128": 0.75,
    "128x128": 0.8,
    "64x256": 0.65,
    "64x128": 0.7,
    "64x64": 0.55,
    "32x128": 0.5,
    "16x64": 0.55,
}
"""Tiles and the shares that their search starts from."""
SHARES = (0.4, 1.0)
QUANTIZE = {
    "quantize_share": (0.36, 0.05, 1.0),
    "row": (6e-9, 1e-10, 1e-7),
    "quantize_launch": (2e-6, 1e-7, 1e-5),
}
SPLIT_OFF = (1e-4, 1e-6, 1e-2)
"""Bounds of ``split_launch`` in 8 bits, whose kernels hardly split k."""

NO_RECORD = FitRecord(source="", date="", rows=0, held_out=Residuals(rows=0, mape=0, p90=0, low=0, high=0))
BY_SHAPE = Grid(
    axes=(
        (1, 16, 64, 128, 256, 1024, 4096, 32768),
        (32, 128, 512, 1536, 4096, 12288, 65536),
        (32, 128, 512, 2048, 8192, 65536),
    )
)
BY_WAVES = Grid(
    axes=(
        tuple(2.0**power for power in (-6.5, -5.5, -4.5, *np.arange(-4, 4.1, 0.25).tolist(), 5, 6, 7, 8)),
        (64, 512, 1024, 2048, 4096, 8192, 65536),
    )
)


def fit(folder: Path) -> dict[str, GemmFit]:
    """Fits of every measured device, by the device's name."""
    rows = {name: _read(folder / file) for name, file in FILES.items()}
    devices = {name: read_device(name) for name in FILES}
    fits = {name: fit_device(devices[name], rows[name]) for name in FILES}
    for name, own in fits.items():
        others = [(devices[other], _of(rows[other], "bf16")) for other in FILES if other != name]
        fits[name] = with_strangers(own, others)
    ampere = with_fit(devices["a100-sxm-80gb"], fits["a100-sxm-80gb"], "bf16")
    slower = weight_gradient_factor(ampere, folder, gpu=GRADIENT_GPU)
    return {name: own.model_copy(update={"weight_gradient": slower}) for name, own in fits.items()}


def _read(path: Path) -> list[Measured]:
    return parse_all(read_rows(path, columns=COLUMNS), measured_of)


def fit_device(device: DeviceSpec, rows: Sequence[Measured]) -> GemmFit:
    """16 bits, and 8 bits where there are rows of them."""
    written = fit_recorded(device, _of(rows, "bf16")).model_dump(mode="json")
    narrow = _of(rows, "fp8")
    if len(narrow.seconds):
        written["narrow"] = fit_recorded(device, narrow).model_dump(mode="json")
    return GemmFit.model_validate(written)


def with_strangers(own: GemmFit, others: Sequence[tuple[DeviceSpec, Products]]) -> GemmFit:
    """The fit, its record with the residuals of other devices that it predicts by their data sheets alone."""
    parts = dict(own.record.parts)
    for device, products in others:
        weights = list(zip(products.n.tolist(), products.k.tolist(), strict=True))
        predicted = predicted_seconds(
            with_fit(device, own.model_copy(update={"engines": {}}), "bf16"), products
        )
        masks = {f"{device.name} by its data sheet, {AIM}": products.is_wide}
        parts |= parts_of(products.seconds, predicted, weights, masks)
    return own.model_copy(update={"record": own.record.model_copy(update={"parts": parts})})


def _of(rows: Sequence[Measured], precision: Precision) -> Products:
    return products_of([row for row in rows if row.precision == precision], precision)


def fit_recorded(device: DeviceSpec, products: Products) -> TileFit:
    """The fit of all rows, with the residuals of weights [n, k] that a fit of the others had not seen."""
    fitted = fit_products(device, products)
    weights = list(zip(products.n.tolist(), products.k.tolist(), strict=True))
    predicted = held_out(device, products, folds_of(weights), fitted)
    masks = {AIM: products.is_wide} | size_masks(products)
    record = FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(products.seconds),
        covers=covers_of(m=products.m, n=products.n, k=products.k),
        held_out=residuals_of(products.seconds, predicted, weights),
        parts=parts_of(products.seconds, predicted, weights, masks),
    )
    return TileFit.model_validate(fitted.model_copy(update={"record": record}).model_dump(mode="json"))


def size_masks(products: Products) -> dict[str, NDArray[np.bool_]]:
    """Parts of rows whose errors differ, each row in one of them."""
    wide, m = products.is_wide, products.m
    return {
        "n or k < 512": ~wide,
        f"{AIM}, m <= 64": wide & (m <= 64),
        f"{AIM}, m 65 to 1024": wide & (m > 64) & (m <= 1024),
        f"{AIM}, m > 1024": wide & (m > 1024),
    }


def held_out(
    device: DeviceSpec, products: Products, folds: NDArray[np.int64], start: TileFit | None = None
) -> Floats:
    """Predictions of each fold by a fit of all others."""
    predicted = np.empty_like(products.seconds)
    for fold in range(FOLDS):
        unseen = folds == fold
        fitted = fit_products(device, products.chosen(~unseen), start)
        predicted[unseen] = predicted_seconds(
            with_fit(device, fitted, products.precision), products.chosen(unseen)
        )
    return predicted


def fit_products(device: DeviceSpec, products: Products, start: TileFit | None = None) -> TileFit:
    """Coefficients by a search on a sample, then engines and grids on all rows."""
    rows = len(products.seconds)
    sample = np.random.default_rng(0).choice(rows, min(SAMPLE, rows), p=_odds(products))
    bare = _search(device, products.chosen(sample), start)
    modelled = predicted_seconds(with_fit(device, bare, products.precision), products)
    engines = _engine_factors(products, modelled)
    logs = np.log(products.seconds / modelled)
    for name, factor in engines.items():
        logs[products.engines == name] -= np.log(factor)
    by_shape, by_waves = _grids(device, products, logs)
    return bare.model_copy(update={"engines": engines, "by_shape": by_shape, "by_waves": by_waves})


def _odds(products: Products) -> Floats:
    """Of drawing each row: the shapes of training and prefill are few, those of decoding many."""
    odds = np.where(products.is_wide, 1.0, 0.3)
    odds *= np.where(products.m <= 17, 0.5, 1.0) * np.where(products.m >= 8192, 3.0, 1.0)
    return np.asarray(odds / odds.sum())


def _search(device: DeviceSpec, products: Products, start: TileFit | None) -> TileFit:
    """Least squares of logarithms, robust against single rows that went astray."""
    bounds = _bounds(products.precision, start)
    first, low, high = np.log(np.array(list(bounds.values()))).T

    def errors(logs: Floats) -> Floats:
        fitted = _fit_of(device, products.precision, dict(zip(bounds, np.exp(logs).tolist(), strict=True)))
        seconds = predicted_seconds(with_fit(device, fitted, products.precision), products)
        return np.asarray(np.log(seconds / products.seconds))

    found = least_squares(
        errors, np.clip(first, low, high), bounds=(low, high), loss="soft_l1", f_scale=ROBUST,
        diff_step=3e-3, max_nfev=40,
    )  # fmt: skip
    values = {name: float(f"{value:.4g}") for name, value in zip(bounds, np.exp(found.x), strict=True)}
    return _fit_of(device, products.precision, values)


def _bounds(precision: Precision, start: TileFit | None) -> dict[str, tuple[float, float, float]]:
    bounds = dict(START) | {name: (share, *SHARES) for name, share in TILES.items()}
    if precision == "fp8":
        bounds |= QUANTIZE
        bounds["split_launch"] = SPLIT_OFF
    if start is None:
        return bounds
    known = {**dict(start), **start.tiles}
    if start.quantize:
        own = start.quantize
        known |= {"quantize_share": own.share, "row": own.row, "quantize_launch": own.launch}
    return {name: (known[name], low, high) for name, (_, low, high) in bounds.items()}


def _fit_of(device: DeviceSpec, precision: Precision, values: Mapping[str, float]) -> TileFit:
    known: dict[str, Any] = dict(values)
    tiles = {name: known.pop(name) for name in TILES}
    if precision == "fp8":
        known["quantize"] = QuantizeFit.model_construct(
            share=known.pop("quantize_share"), row=known.pop("row"), launch=known.pop("quantize_launch")
        )
    return TileFit.model_construct(
        architecture=device.architecture,
        multiprocessor=device.peak[precision] / device.multiprocessors,
        tiles=tiles,
        **({"quantize": None} | known),
        by_shape=None,
        by_waves=None,
        engines={},
        record=NO_RECORD,
    )


def with_fit(device: DeviceSpec, fitted: TileFit, precision: Precision) -> DeviceSpec:
    """The device with these coefficients for products of that precision."""
    values = {**dict(fitted), "kind": "tiles", "weight_gradient": 1.0, "narrow": None}
    gemm = GemmFit.model_construct(**values)
    return device.model_copy(update={"kernels": device.kernels.model_copy(update={"gemm": gemm})})


def _engine_factors(products: Products, modelled: Floats) -> dict[str, float]:
    """Seconds of each engine over the geometric mean of all, on the shapes that it was measured on."""
    names = sorted(set(products.engines.tolist()))
    logs = np.log(products.seconds / modelled)
    medians = {name: float(np.median(logs[products.engines == name])) for name in names}
    middle = float(np.mean(list(medians.values())))
    return {name: float(f"{np.exp(median - middle):.4g}") for name, median in medians.items()}


def _grids(device: DeviceSpec, products: Products, logs: Floats) -> tuple[GridFit, GridFit]:
    ones = np.ones_like(products.m)
    shapes = Shapes(m=products.m, n=products.n, k=products.k, groups=ones, moved=ones)
    waves = square_waves(
        Rates(flops_per_s=1.0, bytes_per_s=1.0, multiprocessors=device.multiprocessors), shapes
    )
    weights = np.where(products.is_wide, 1.0, NARROW_WEIGHT)
    places = ((products.m, products.n, products.k), (waves, products.k))
    by_shape, by_waves = fitted_grids((BY_SHAPE, BY_WAVES), places, logs, weights)
    return by_shape, by_waves
