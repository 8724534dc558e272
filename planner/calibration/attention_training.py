"""Fit attention as training runs it, forward and backward, to efficiencies measured on A100 and B200."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.calibration.attention_fit import PREFILL_START, checked, with_attention
from planner.calibration.residuals import residuals_of
from planner.calibration.rows import Row, parse_all, read_rows
from planner.calibration.search import Floats, Search, folds_of
from planner.costs.kernels.attention import backward_attention_seconds, prefill_attention_seconds
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import BackwardFit, FitRecord, PrefillFit

FILE = "training_kernel_efficiency_simumax.csv"
SOURCE = "MooreThreads/SimuMax @4dcaae51, Apache-2.0"
DATE = "2026-11-20"
BACKWARD_START = {
    "share": (0.5, 0.05, 1.0),
    "keys": (50.0, 0.1, 2000.0),
    "tail": (0.3, 0.01, 10.0),
    "wide": (0.5, 0.01, 2.0),
}
BACKWARD_FLOPS = 2.5
"""Of the forward's, as the efficiencies of this file count them."""
_SIZES = ("batch", "seq_len", "head_num", "kv_head_num", "qk_head_dim", "v_head_dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Measured attention of training, one element of each array per row."""

    sizes: npt.NDArray[np.float64]
    """Of each row: sequences, tokens, query heads, key-value heads, width of keys, width of values."""
    seconds: Floats

    def chosen(self, mask: npt.NDArray[np.bool_]) -> "Cores":
        """The rows where the mask is true."""
        return Cores(sizes=self.sizes[mask], seconds=self.seconds[mask])

    @property
    def shape(self) -> dict[str, Any]:
        """Arguments of the costs."""
        names = ("sequences", "tokens", "heads", "kv_heads", "head_dim", "value_dim")
        return dict(zip(names, self.sizes.T, strict=True))

    @property
    def groups(self) -> list[str]:
        """Of each row, its heads."""
        return [str(tuple(sizes)) for sizes in self.sizes[:, 2:].tolist()]


def cores_of(folder: Path, *, op: str, gpu: str) -> Cores:
    """The rows of one operation on one device."""
    rows = read_rows(folder / FILE, columns=("gpu", "op", "shape", "peak_tflops", "efficiency"))
    own = [row for row in rows if row.text("op") == op and row.text("gpu") == gpu]
    table = np.array(parse_all(own, _parsed), dtype=np.float64).reshape(-1, len(_SIZES) + 1)
    return Cores(sizes=table[:, :-1], seconds=table[:, -1])


def _parsed(row: Row) -> tuple[float, ...]:
    """Sizes and seconds; efficiencies count all scores, those that the mask hides too."""
    fields = dict(part.strip().split("=") for part in row.text("shape").split(","))
    batch, tokens, heads, kv_heads, keys, values = (float(fields[name]) for name in _SIZES)
    flops = 2.0 * batch * heads * tokens**2 * (keys + values)
    if row.text("op") == "sdp_bwd":
        flops *= BACKWARD_FLOPS
    seconds = flops / (row.number("efficiency") * row.number("peak_tflops") * 1e12)
    return batch, tokens, heads, kv_heads, keys, values, seconds


def fit_backward(
    device: DeviceSpec, rows: Cores, *, forward: PrefillFit, held: Mapping[str, float] = MappingProxyType({})
) -> BackwardFit:
    """Backward coefficients.

    Parameters
    ----------
    forward
        Whose launch and streams the backward has, too.
    held
        Coefficients that too few rows would tell; taken from a device with more.
    """
    start = {name: bounds for name, bounds in BACKWARD_START.items() if name not in held}

    def predict(values: Mapping[str, Any], of: Cores) -> Floats:
        backward = BackwardFit.model_construct(**values)
        on = with_attention(device, prefill=forward, backward=backward)
        return np.asarray(backward_attention_seconds(on, **of.shape))

    search = Search(start=start, options=(held,), weights=np.ones(len(rows.seconds)), predict=predict)
    values = search.values(rows)
    return checked(BackwardFit.model_construct(**values, record=_record(search, rows, values)))


def fit_forward(device: DeviceSpec, rows: Cores, *, relative: PrefillFit) -> PrefillFit:
    """Prefill coefficients where only training's forward was measured, the others those of a relative."""
    start = {name: PREFILL_START[name] for name in ("share", "keys", "tail", "overlap")}
    held = {name: value for name, value in relative if name not in start and name != "record"}

    def predict(values: Mapping[str, Any], of: Cores) -> Floats:
        on = with_attention(device, prefill=PrefillFit.model_construct(**values))
        return np.asarray(prefill_attention_seconds(on, **of.shape, cached=False))

    search = Search(start=start, options=(held,), weights=np.ones(len(rows.seconds)), predict=predict)
    values = search.values(rows)
    return checked(PrefillFit.model_construct(**values, record=_record(search, rows, values)))


def _record(search: Search[Cores], rows: Cores, values: Mapping[str, Any]) -> FitRecord:
    predicted = search.held_out(rows, folds_of(rows.groups), values)
    held_out = residuals_of(rows.seconds, predicted, rows.groups)
    return FitRecord(source=SOURCE, date=DATE, rows=len(rows.seconds), held_out=held_out)
