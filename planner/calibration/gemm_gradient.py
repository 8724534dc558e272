"""How much longer than a forward product one takes that adds to a weight's gradient."""

import re
from pathlib import Path

import numpy as np

from planner.calibration.rows import Row, parse_all, read_rows
from planner.costs.kernels.gemm import gemm_gradient_seconds, gemm_seconds
from planner.domain.cluster import DeviceSpec

FILE = "training_kernel_efficiency_simumax.csv"
_SIZES = re.compile(r"\bm=(\d+), k=(\d+), n=(\d+), layout=(\w\w), accumulate=(\w+), out_dtype=(\w+)")
FORWARD, GRADIENT = ("TN", "False", "bf16"), ("NT", "True", "fp32")
"""Layout of the operands, whether the product is added, and to what."""


def weight_gradient_factor(device: DeviceSpec, folder: Path, *, gpu: str) -> float:
    """Median of measured over predicted seconds of weight gradients, over that of forward products."""
    rows = read_rows(folder / FILE, columns=("gpu", "op", "shape", "peak_tflops", "efficiency"))
    own = [row for row in rows if row.text("gpu") == gpu and row.text("op") == "matmul"]
    measured = np.array(parse_all(own, _sizes_and_seconds))
    kinds = [_match(row).groups()[3:] for row in own]
    medians = []
    for kind, predict in ((GRADIENT, gemm_gradient_seconds), (FORWARD, gemm_seconds)):
        m, k, n, seconds = measured[[found == kind for found in kinds]].T
        medians.append(np.median(seconds / np.asarray(predict(device, m, n, k))))
    return float(f"{medians[0] / medians[1]:.4g}")


def _sizes_and_seconds(row: Row) -> tuple[float, ...]:
    m, k, n = map(float, _match(row).groups()[:3])
    flops_per_s = row.number("peak_tflops") * 1e12 * row.number("efficiency")
    return m, k, n, 2 * m * k * n / flops_per_s


def _match(row: Row) -> re.Match[str]:
    found = _SIZES.search(row.text("shape"))
    if found is None:
        raise row.error("shape", "m=..., k=..., n=..., layout=..., accumulate=..., out_dtype=...")
    return found
