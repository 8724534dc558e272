import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.kernels.gemm import (
    GENERATIONS,
    fit_elsewhere,
    gemm_backward_seconds,
    gemm_floor_seconds,
    gemm_gradient_seconds,
    gemm_seconds,
    quantize_seconds,
)
from planner.costs.kernels.tiles import Rates, Shapes, tiled_seconds
from planner.domain.catalog import read_device
from planner.domain.fits import FitRecord, FlatFit, GridFit, Residuals, TileFit
from planner.errors import SpecError

NAMES = ("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "l40s-48gb", "b200-sxm-180gb")
DEVICES = {name: read_device(name) for name in NAMES}
sizes = st.integers(min_value=1, max_value=2**16)

BARE = TileFit(
    architecture="none",
    multiprocessor="1 TFLOP/s",
    tiles={"128x128": 1.0},
    loads=0.0,
    exposed=0.0,
    prologue=0.0,
    residency=1.0,
    overlap=0.0,
    wave="0 s",
    heat="1 s",
    slowdown=0.0,
    memory=1.0,
    latency="0 s",
    reduce=1e9,
    norm=20.0,
    launch="0 s",
    split_launch="0 s",
    record=FitRecord(source="", date="", rows=0, held_out=Residuals(rows=0, mape=0, p90=0, low=0, high=0)),
)
"""Nothing but tiles in waves."""
TEN = Rates(flops_per_s=1e13, bytes_per_s=1e18, multiprocessors=10)
TILE_SECONDS = 2 * 128 * 128 * 128 / 1e12
"""Of one tile through k = 128 on a multiprocessor of `TEN`."""


def with_gemm(device, fit):
    return device.model_copy(update={"kernels": device.kernels.model_copy(update={"gemm": fit})})


def bare_seconds(fit=BARE, rates=TEN, *, m=128.0, n=128.0, k=128.0, groups=1.0):
    arrays = [np.array([size]) for size in (m, n, k, groups)]
    shapes = Shapes(m=arrays[0], n=arrays[1], k=arrays[2], groups=arrays[3], moved=np.array([1.0]))
    return float(tiled_seconds(rates, fit, shapes)[0])


def test_tiles_run_in_whole_waves():
    assert bare_seconds(n=10 * 128) == pytest.approx(TILE_SECONDS)
    assert bare_seconds(n=10 * 128 + 1) == pytest.approx(2 * TILE_SECONDS)
    assert bare_seconds(n=20 * 128) == pytest.approx(2 * TILE_SECONDS)


def test_few_tiles_split_a_long_k():
    alone = 1024 * TILE_SECONDS
    assert bare_seconds(k=1024 * 128) == pytest.approx(alone / 10)
    assert bare_seconds(BARE.model_copy(update={"split_launch": 1.0}), k=1024 * 128) == pytest.approx(alone)


def test_groups_fill_waves_together():
    assert bare_seconds(groups=10.0) == pytest.approx(bare_seconds())
    assert bare_seconds(groups=11.0) == pytest.approx(2 * bare_seconds())


def test_grids_multiply():
    grid = GridFit(axes=((0.0, 20.0),) * 3, values=(0.1,) * 8)
    corrected = BARE.model_copy(update={"by_shape": grid})
    assert bare_seconds(corrected) == pytest.approx(np.exp(0.1) * TILE_SECONDS)


def test_another_architecture_scales_fixed_times_by_a_multiprocessor_s_peak():
    slow = BARE.model_copy(update={"launch": 1.0})
    a100, h100 = DEVICES["a100-sxm-80gb"], DEVICES["h100-sxm-80gb"]
    moved = slow.model_copy(update={"architecture": "ampere", "multiprocessor": 312e12 / 108})
    assert fit_elsewhere(moved, a100, "bf16") is moved
    there = fit_elsewhere(moved, h100, "bf16")
    assert there.launch == pytest.approx((312 / 108 * 132 / 989.4) ** GENERATIONS)
    assert 0 < there.overlap < 1


@given(st.sampled_from(NAMES), sizes, sizes, sizes, st.integers(min_value=1, max_value=64))
def test_never_below_the_data_sheet(name, m, n, k, groups):
    device = DEVICES[name]
    floor = gemm_floor_seconds(device, m, n, k, groups=groups)
    assert gemm_seconds(device, m, n, k, groups=groups) >= floor
    assert gemm_gradient_seconds(device, m, n, k, groups=groups) >= floor


@given(st.sampled_from(NAMES), sizes, sizes, sizes, st.floats(min_value=1.0, max_value=8.0))
def test_a_faster_device_is_never_slower(name, m, n, k, speed):
    device = DEVICES[name]
    peak = {precision: speed * rate for precision, rate in device.peak.items()}
    faster = device.model_copy(update={"peak": peak})
    wider = device.model_copy(update={"memory_bandwidth": speed * device.memory_bandwidth})
    for precision in ("bf16", "fp8"):
        if precision in device.peak:
            seconds = gemm_seconds(device, m, n, k, precision=precision)
            assert gemm_seconds(faster, m, n, k, precision=precision) <= seconds * (1 + 1e-12)
            assert gemm_seconds(wider, m, n, k, precision=precision) <= seconds * (1 + 1e-12)


def test_arrays_broadcast_and_equal_the_scalar_path():
    device = DEVICES["h100-sxm-80gb"]
    m, n = np.array([[1], [300], [4096]]), np.array([512, 6144, 57344, 128256])
    together = gemm_seconds(device, m, n, 8192)
    alone = [[gemm_seconds(device, float(rows), float(columns), 8192) for columns in n] for rows in m[:, 0]]
    assert together.shape == (3, 4)
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_an_empty_product_costs_about_its_launch():
    device = DEVICES["h100-sxm-80gb"]
    assert 1e-6 < gemm_seconds(device, 0, 4096, 4096) <= gemm_seconds(device, 1, 4096, 4096)


def test_backward_is_one_product_to_the_input_and_one_to_the_weight():
    device = DEVICES["a100-sxm-80gb"]
    both = gemm_backward_seconds(device, 4096, 6144, 2048)
    to_weight = gemm_gradient_seconds(device, 6144, 2048, 4096)
    assert both == pytest.approx(gemm_seconds(device, 4096, 2048, 6144) + to_weight)
    assert to_weight > gemm_seconds(device, 6144, 2048, 4096)


def test_a_device_that_nothing_is_known_of_has_a_flat_share():
    device = with_gemm(DEVICES["h100-sxm-80gb"], FlatFit(share=0.5, launch="3 us"))
    floor = gemm_floor_seconds(device, 4096, 4096, 4096)
    assert gemm_seconds(device, 4096, 4096, 4096) == pytest.approx(2 * floor + 3e-6)
    assert quantize_seconds(device, 1024, 1024) == pytest.approx(3e-6 + 6 * 2**20 / 3.35e12)


def test_eight_bits_are_faster_where_products_are_large():
    device = DEVICES["h100-sxm-80gb"]
    wide = gemm_seconds(device, 8192, 8192, 8192)
    narrow = gemm_seconds(device, 8192, 8192, 8192, precision="fp8")
    assert narrow + quantize_seconds(device, 8192, 8192) < wide
    with pytest.raises(SpecError, match="a100-sxm-80gb: peak names no fp8"):
        gemm_seconds(DEVICES["a100-sxm-80gb"], 8192, 8192, 8192, precision="fp8")


PINNED = {
    ("a100-sxm-80gb", (16, 4096, 14336)): 82.42,
    ("a100-sxm-80gb", (512, 6144, 4096)): 106.1,
    ("a100-sxm-80gb", (4096, 4096, 4096)): 522.8,
    ("a100-sxm-80gb", (8192, 28672, 8192)): 15000,
    ("h100-sxm-80gb", (16, 4096, 14336)): 46.57,
    ("h100-sxm-80gb", (512, 6144, 4096)): 36.12,
    ("h100-sxm-80gb", (4096, 4096, 4096)): 176.1,
    ("h100-sxm-80gb", (8192, 28672, 8192)): 5034,
    ("h200-sxm-141gb", (16, 4096, 14336)): 33.64,
}
"""Microseconds, so that accuracy can't slip unnoticed."""


@pytest.mark.parametrize(("name", "shape"), list(PINNED))
def test_predictions_are_pinned(name, shape):
    assert 1e6 * gemm_seconds(DEVICES[name], *shape) == pytest.approx(PINNED[name, shape], rel=0.02)
