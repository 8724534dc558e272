"""Fit collectives: rings by their protocols, exchanges, the switch, and the engines' own kernels."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from planner.calibration.collective_rows import (
    LARGE,
    LARGE_BYTES,
    SMALL,
    Batch,
    Floats,
    Measured,
    batches_of,
    measured_of,
    predicted_seconds,
)
from planner.calibration.known import known_device
from planner.calibration.residuals import residuals_of
from planner.calibration.rows import Row, parse_all, read_rows
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import (
    CollectiveFit,
    EngineReduceFit,
    FitRecord,
    LineFit,
    Residuals,
)
from planner.domain.quantities import Value

SOURCE = "ai-dynamo/aiconfigurator @095f58a5, Apache-2.0"
DATE = "2026-11-20"
FILE = "collectives_aiconfigurator.csv"
SEND_SOURCE = "microsoft/vidur @7d475133, MIT (send)"
SEND_FILE = "collectives_vidur.csv"
SEND_SYSTEMS = {"a100_dgx": "a100_sxm", "h100_dgx": "h100_sxm"}
SEND_COLUMNS = ("system", "op", "num_workers", "devices_per_node", "size_bytes", "median_ms")
COLUMNS = ("system", "op", "num_gpus", "bytes", "latency_ms")
RINGS = ("all_reduce", "all_gather", "reduce_scatter")
SMALL_WEIGHT = 0.4
"""Of rows below `LARGE_BYTES`, whose residuals are of latencies."""
TABLE = 0.78
"""NCCL's ring bandwidth of A100 and H100 (235 and 351 GB/s) over the links' data sheet."""
LIMITS = [2**power for power in range(19, 27)]
"""Sizes at which an engine may hand over to NCCL."""

NONE = Residuals(rows=0, mape=0, p90=0, low=0, high=0)
UNFITTED = CollectiveFit(
    ring=(
        LineFit(base=3.0, step=0.3, share=0.3),
        LineFit(base=5.0, step=0.5, share=0.6),
        LineFit(base=6.0, step=1.5, share=0.75),
    ),
    early_copy=0.5,
    gather_copy=1.5,
    scatter_copy=2.0,
    reduce_copy=1.5,
    exchange=(
        LineFit(base=4.0, step=0.1, share=0.3),
        LineFit(base=6.0, step=0.5, share=0.7),
        LineFit(base=9.0, step=1.0, share=0.78),
    ),
    exchange_copy=1.5,
    record=FitRecord(source="", date="", rows=0, held_out=NONE),
)
"""Where every search starts."""
NEVER_NCCL = EngineReduceFit(
    one_shot=LineFit(base=1.2, step=0.05, share=0.6),
    two_shot=LineFit(base=2.0, step=0.1, share=0.5),
    limit="1 TiB",
    switch_limit="1 TiB",
)


def fit(folder: Path) -> dict[str, CollectiveFit]:
    """Collective fits of every measured device that the catalog has, by the device's name."""
    rows = parse_all(read_rows(folder / FILE, columns=COLUMNS), measured_of)
    sends = read_rows(folder / SEND_FILE, columns=SEND_COLUMNS)
    devices = {row.system: known_device(row.system) for row in rows}
    return {
        device.name: _with_send(
            device,
            fit_recorded(device, [row for row in rows if row.system == system]),
            [row for row in sends if SEND_SYSTEMS.get(row.text("system")) == system],
        )
        for system, device in devices.items()
        if device is not None
    }


def _with_send(device: DeviceSpec, fitted: CollectiveFit, rows: Sequence[Row]) -> CollectiveFit:
    """The fit with a line for single messages inside a node, where there are measured ones."""
    own = [row for row in rows if row.text("op") == "send_recv" and row.count("devices_per_node") == 2]
    if not own:
        return fitted
    sizes = np.array([row.number("size_bytes") for row in own])
    measured = np.array([row.number("median_ms") for row in own]) / 1e3
    latency, bandwidth = device.link.latency, device.link.bandwidth

    def residuals(logs: Floats) -> Floats:
        base, share = np.exp(logs)
        return np.asarray(np.log((base * latency + sizes / (share * bandwidth)) / measured))

    bounds = (np.log([0.1, 0.01]), np.log([60.0, 1.0]))
    found = least_squares(residuals, np.log([3.0, 0.8]), bounds=bounds, loss="soft_l1", f_scale=0.1)
    base, share = np.exp(found.x).tolist()
    record = fitted.record.model_copy(update={"source": f"{SOURCE}; {SEND_SOURCE}"})
    line = LineFit(base=base, step=0.0, share=share)
    return fitted.model_copy(update={"send": _rounded(line), "record": record})


def fit_recorded(device: DeviceSpec, rows: Sequence[Measured]) -> CollectiveFit:
    """The fit of all rows, with the residuals of those that a fit of the others had not seen."""
    rounded: CollectiveFit = _rounded(fit_rows(device, rows))
    held_out = [part for fold in _folds(rows) for part in _unseen(device, rows, fold)]
    ranks = [float(row.ranks) for row in rows]
    record = FitRecord(
        source=SOURCE,
        date=DATE,
        rows=len(rows),
        covers={"devices": (min(ranks), max(ranks))},
        held_out=_residuals(held_out),
        parts={
            part: _residuals([pair for pair in held_out if pair[0].part == part]) for part in (LARGE, SMALL)
        },
    )
    return rounded.model_copy(update={"record": record})


def _residuals(held_out: Sequence[tuple[Measured, float]]) -> Residuals:
    return residuals_of(
        [row.seconds for row, _ in held_out],
        [seconds for _, seconds in held_out],
        [(row.op, row.library, row.ranks) for row, _ in held_out],
    )


def _folds(rows: Sequence[Measured]) -> list[set[int]]:
    """Lines left out together: a group size between two others, or a library that has other versions."""
    sizes = sorted({row.ranks for row in rows})[1:-1]
    folds = [{row.line for row in rows if row.ranks == size} for size in sizes]
    versions: dict[str, set[str]] = {}
    for row in rows:
        if not row.is_eager:
            versions.setdefault(row.library.partition("-")[0], set()).add(row.library)
    for library in sorted(name for names in versions.values() if len(names) > 1 for name in names):
        folds.append({row.line for row in rows if row.library == library})
    return folds


def _unseen(device: DeviceSpec, rows: Sequence[Measured], fold: set[int]) -> list[tuple[Measured, float]]:
    """The rows of a fold with what a fit of the others predicts for them."""
    left_out = [row for row in rows if row.line in fold]
    seen = with_fit(device, fit_rows(device, [row for row in rows if row.line not in fold]))
    return list(zip(left_out, predicted_seconds(seen, batches_of(left_out)).tolist(), strict=True))


def fit_rows(device: DeviceSpec, rows: Sequence[Measured]) -> CollectiveFit:
    """Coefficients of one device, part by part: what a later part needs of earlier ones is fitted before."""
    has_bus = device.link.bandwidth < 100e9
    fitted = UNFITTED if has_bus else UNFITTED.model_copy(update={"table": TABLE})
    fitted = _fit_rings(device, fitted, rows, has_bus=has_bus)
    fitted = _fit_exchange(device, fitted, [row for row in rows if row.op == "all_to_all"])
    if device.architecture not in ("ampere", "ada", "unknown"):
        fitted = _fit_switch(device, fitted, [row for row in rows if row.op == "all_reduce"])
    graphs = [row for row in rows if row.engine and not row.is_eager]
    for engine in sorted({str(row.engine) for row in graphs}):
        fitted = _fit_engine(device, fitted, engine, [row for row in graphs if row.engine == engine])
    eager = [row.seconds for row in rows if row.is_eager and row.full_bytes <= 2**16]
    return fitted.model_copy(update={"host_launch": float(np.median(eager)) if eager else 0.0})


def _fit_rings(
    device: DeviceSpec, start: CollectiveFit, rows: Sequence[Measured], *, has_bus: bool
) -> CollectiveFit:
    """Protocols and copies, of rows that no switch has reduced."""

    may_switch = not has_bus and device.architecture != "ampere"

    def build(values: Floats) -> CollectiveFit:
        names = ("early_copy", "gather_copy", "scatter_copy", "reduce_copy")
        copies = dict(zip(names, values[9:13].tolist(), strict=True))
        extra = {"contention": float(values[13])} if has_bus else {}
        return start.model_copy(update={"ring": _lines(values[:9]), **copies, **extra})

    own = [
        row
        for row in rows
        if row.op in RINGS and not (may_switch and row.op == "all_reduce" and row.ranks >= 8)
    ]
    first = np.concatenate([_values(start.ring), [0.5, 1.5, 2.0, 1.5], [1.5] * has_bus])
    upper = np.concatenate([[60, 20, 1.0] * 3, [20.0] * 4, [4.0] * has_bus])
    return _search(device, own, build, first, upper)


def _fit_exchange(device: DeviceSpec, start: CollectiveFit, rows: Sequence[Measured]) -> CollectiveFit:
    def build(values: Floats) -> CollectiveFit:
        return start.model_copy(update={"exchange": _lines(values[:-1]), "exchange_copy": float(values[-1])})

    first = np.append(_values(start.exchange), 1.5)
    upper = np.append([60, 20, 1.0] * len(start.exchange), 20.0)
    return _search(device, rows, build, first, upper)


def _fit_switch(device: DeviceSpec, start: CollectiveFit, rows: Sequence[Measured]) -> CollectiveFit:
    def build(values: Floats) -> CollectiveFit:
        return start.model_copy(update={"switch": LineFit(base=values[0], step=0.0, share=values[1])})

    own = [row for row in rows if row.ranks >= 8 and row.has_switch and row.full_bytes >= LARGE_BYTES]
    return _search(device, own, build, np.array([20.0, 0.6]), np.array([60.0, 1.0])) if own else start


def _fit_engine(
    device: DeviceSpec, start: CollectiveFit, engine: str, rows: Sequence[Measured]
) -> CollectiveFit:
    """Lines of the engine's kernels, then the sizes at which it hands over to NCCL."""

    def with_engine(own: EngineReduceFit) -> CollectiveFit:
        return start.model_copy(update={"engines": {**start.engines, engine: own}})

    def build(values: Floats) -> CollectiveFit:
        one, two = _lines(values)
        return with_engine(NEVER_NCCL.model_copy(update={"one_shot": one, "two_shot": two}))

    first = _values((NEVER_NCCL.one_shot, NEVER_NCCL.two_shot))
    below = [row for row in rows if row.full_bytes <= LARGE_BYTES]
    lines = _search(device, below, build, first, np.array([60, 20, 1.0] * 2)).engines[engine]
    sized = [
        with_engine(lines.model_copy(update={"limit": limit, "switch_limit": max(limit, wide)}))
        for limit in LIMITS
        for wide in LIMITS
    ]
    measured, batches = _measured(rows), batches_of(rows)
    return min(sized, key=lambda fitted: float(np.abs(_logs(device, fitted, batches, measured)).mean()))


def _search(
    device: DeviceSpec,
    rows: Sequence[Measured],
    build: Callable[[Floats], CollectiveFit],
    first: Floats,
    upper: Floats,
) -> CollectiveFit:
    """Least squares of logarithms, robust against single rows that went astray."""
    weights = np.array([1.0 if row.full_bytes >= LARGE_BYTES else SMALL_WEIGHT for row in rows])
    measured, batches = _measured(rows), batches_of(rows)

    def residuals(logs: Floats) -> Floats:
        return weights * _logs(device, build(np.exp(logs)), batches, measured)

    found = least_squares(
        residuals,
        np.log(first),
        bounds=(np.full(len(first), np.log(1e-4)), np.log(upper)),
        loss="soft_l1",
        f_scale=0.05,
        max_nfev=100,
    )
    return build(np.exp(found.x))


def _logs(device: DeviceSpec, fitted: CollectiveFit, batches: Sequence[Batch], measured: Floats) -> Floats:
    return np.asarray(np.log(predicted_seconds(with_fit(device, fitted), batches) / measured))


def _measured(rows: Sequence[Measured]) -> Floats:
    return np.array([row.seconds for row in rows])


def with_fit(device: DeviceSpec, fitted: CollectiveFit) -> DeviceSpec:
    """The device with these collectives."""
    return device.model_copy(update={"kernels": device.kernels.model_copy(update={"collective": fitted})})


def _lines(values: Floats) -> tuple[LineFit, ...]:
    return tuple(
        LineFit(base=float(base), step=float(step), share=float(min(share, 1.0)))
        for base, step, share in values.reshape(-1, 3)
    )


def _rounded(value: Any) -> Any:
    """Every coefficient to four significant digits, which is finer than any of them is known."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, Value):
        return value.model_copy(update={name: _rounded(part) for name, part in value})
    return value


def _values(lines: Sequence[LineFit]) -> Floats:
    return np.array([value for line in lines for value in (line.base, line.step, line.share)])
