import numpy as np
import pytest

from planner.calibration.gemm import COLUMNS, evaluate
from planner.calibration.gemm_fit import fit_products, size_masks, with_fit
from planner.calibration.gemm_rows import Products, predicted_seconds
from planner.calibration.grid_fit import Grid, fitted_grids
from planner.calibration.rows import Row, RowError
from planner.costs.kernels.gemm import gemm_seconds, quantize_seconds
from planner.costs.kernels.grids import grid_value
from planner.domain.catalog import read_device
from planner.errors import SpecError

H100 = read_device("h100-sxm-80gb")


def row(line=2, **fields):
    content = {"framework": "vllm-1.2", "dtype": "bfloat16", "m": "4096", "n": "6144", "k": "4096"}
    content |= {"latency_ms": "0.3"} | {name: str(value) for name, value in fields.items()}
    return Row(line=line, fields=content)


def ignore(done):
    assert done >= 0


def test_every_row_is_judged_or_skipped_with_a_reason():
    rows = [row(2), row(3, dtype="nvfp4"), row(4, dtype="fp8"), row(5, dtype="float16")]
    found = evaluate(rows, read_device("a100-sxm-80gb"), ignore)
    assert [judged.line for judged in found.judged] == [2, 5]
    assert {(each.line, each.reason) for each in found.skipped} == {
        (3, "no cost model of dtype 'nvfp4'"),
        (4, "a100-sxm-80gb states no peak of fp8"),
    }


def test_predictions_lie_inside_their_band_and_name_their_source():
    (judged,) = evaluate([row()], H100, ignore).judged
    assert judged.low < judged.predicted < judged.high
    assert judged.source == "vllm-1.2"
    assert judged.measured == pytest.approx(3e-4)


def test_bands_are_wider_on_a_device_known_by_its_relative():
    (own,) = evaluate([row()], H100, ignore).judged
    (relative,) = evaluate([row()], read_device("h200-sxm-141gb"), ignore).judged
    assert relative.high / relative.low > own.high / own.low


def test_a_column_names_the_device_before_the_one_given():
    rows = [row(2, system="a100_sxm"), row(3, system="abacus"), row(4, system="h100_sxm")]
    found = evaluate(rows, None, ignore)
    assert [judged.line for judged in found.judged] == [2, 4]
    assert found.judged[0].predicted > 2 * found.judged[1].predicted
    assert [each.reason for each in found.skipped] == ["unknown device"]


def test_without_any_device_the_option_is_named():
    with pytest.raises(SpecError, match="--device"):
        evaluate([row()], None, ignore)


def test_all_broken_rows_are_named():
    rows = [row(2, m=0), row(3, latency_ms="soon"), row(4), row(5, k=1.5)]
    with pytest.raises(RowError) as caught:
        evaluate(rows, H100, ignore)
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == ["line 2", "line 3", "line 5"]


def test_rows_in_eight_bits_count_the_narrowing_of_activations():
    (judged,) = evaluate([row(dtype="fp8", framework="unheard-of")], H100, ignore).judged
    product = gemm_seconds(H100, 4096, 6144, 4096, precision="fp8")
    assert judged.predicted == pytest.approx(product + quantize_seconds(H100, 4096, 4096))


def test_an_engine_has_its_factor_whatever_its_version():
    judged = evaluate(
        [row(2), row(3, framework="vllm-7"), row(4, framework="unheard-of")], H100, ignore
    ).judged
    assert judged[0].predicted == judged[1].predicted
    assert judged[0].predicted == pytest.approx(H100.kernels.gemm.engines["vllm"] * judged[2].predicted)


def test_the_columns_are_those_of_the_contract():
    assert set(COLUMNS) == {"dtype", "m", "n", "k", "latency_ms"}


def products(count=400):
    random = np.random.default_rng(1)
    m, n, k = (np.round(np.exp2(random.uniform(low, 14, count))) for low in (0, 7, 7))
    return Products(m=m, n=n, k=k, seconds=np.ones(count), engines=np.full(count, "some"), precision="bf16")


def test_each_row_belongs_to_one_part_of_sizes():
    masks = np.array(list(size_masks(products()).values()))
    assert (masks.sum(axis=0) == 1).all()


def test_a_fit_follows_the_device_that_made_its_rows():
    device = read_device("a100-sxm-80gb")
    bare = device.kernels.gemm.model_copy(update={"by_shape": None, "by_waves": None, "engines": {}})
    made = predicted_seconds(with_fit(device, bare.model_copy(update={"memory": 0.6}), "bf16"), products())
    shapes = products()
    rows = Products(
        m=shapes.m, n=shapes.n, k=shapes.k, seconds=made, engines=shapes.engines, precision="bf16"
    )
    found = predicted_seconds(with_fit(device, fit_products(device, rows), "bf16"), rows)
    assert np.abs(found / made - 1).mean() < 0.02


def test_grids_follow_their_rows_and_shrink_to_zero_without_any():
    grid = Grid(axes=((1, 4, 16, 64), (1, 2)))
    sizes = np.tile(2.0 ** np.linspace(0, 4, 101), 10)
    places = (sizes, np.ones_like(sizes))
    (found,) = fitted_grids((grid,), (places,), 0.05 * np.log2(sizes), np.ones_like(sizes))
    np.testing.assert_allclose(grid_value(found, places), 0.05 * np.log2(sizes), atol=0.01)
    (empty,) = fitted_grids((grid,), (places,), np.zeros_like(sizes), np.ones_like(sizes))
    assert set(empty.values) == {0.0}
