import numpy as np
import pytest

from planner.calibration.collective import evaluate
from planner.calibration.collective_fit import UNFITTED, fit_rows, with_fit
from planner.calibration.collective_rows import batches_of, measured_of, predicted_seconds
from planner.calibration.rows import Row, RowError
from planner.domain.catalog import read_device

SIZES = [2**power for power in range(12, 30, 2)]


def row(line=2, **fields):
    content = {
        "system": "h100_sxm",
        "source": "someone",
        "library": "nccl-2.27.3",
        "op": "all_reduce",
        "dtype": "half",
        "num_gpus": "8",
        "num_nodes": "1",
        "bytes": "4194304",
        "latency_ms": "0.05",
    }
    return Row(line=line, fields=content | {name: str(value) for name, value in fields.items()})


def seconds(**fields):
    measured = measured_of(row(**fields))
    return float(predicted_seconds(read_device(measured.system), batches_of([measured]))[0])


def ignore(done):
    assert done >= 0


def test_every_row_is_judged_or_skipped_with_a_reason():
    rows = [row(2), row(3, system="abacus"), row(4, num_gpus=1), row(5, op="gossip")]
    found = evaluate(rows, None, ignore)
    assert [judged.line for judged in found.judged] == [2]
    assert {(skipped.line, skipped.reason) for skipped in found.skipped} == {
        (3, "unknown device 'abacus'"),
        (4, "a single rank has nothing to exchange"),
        (5, "unknown operation 'gossip'"),
    }


def test_predictions_lie_inside_their_band_and_name_their_source():
    (judged,) = evaluate([row()], None, ignore).judged
    assert judged.low < judged.predicted < judged.high
    assert judged.source == "someone"
    assert judged.measured == pytest.approx(5e-5)


def test_a_file_without_systems_is_judged_on_the_device_given():
    (judged,) = evaluate([row(system="")], read_device("a100-sxm-80gb"), ignore).judged
    assert judged.predicted == pytest.approx(seconds(system="a100_sxm"))


def test_all_broken_rows_are_named():
    rows = [row(2, num_gpus=0.5), row(3, bytes="many"), row(4)]
    with pytest.raises(RowError) as caught:
        evaluate(rows, None, ignore)
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == ["line 2", "line 3"]


def test_the_switch_reduces_only_what_it_can():
    large = 2**29
    assert seconds(bytes=large) < seconds(bytes=large, dtype="int8")
    assert seconds(bytes=large, system="a100_sxm") > 1.9 * seconds(bytes=large)


def test_engines_reduce_small_messages_faster_than_nccl_and_eager_ones_wait_for_the_host():
    small = {"bytes": 65536, "op": "all_reduce_custom", "library": "vllm-0.14.0:vLLM_custom_graph"}
    eager = small | {"library": "vllm-0.14.0:vLLM_custom_eager"}
    assert seconds(**small) < seconds(bytes=65536)
    assert seconds(**eager) > 2 * seconds(**small)


def test_nodes_of_one_nvlink_domain_count_as_one():
    wide = {"num_gpus": 16, "bytes": 2**28, "num_nodes": 4}
    assert seconds(system="gb200_sxm", **wide) < seconds(system="b200_sxm", **wide)


def test_a_fit_finds_the_coefficients_that_made_its_rows():
    device = read_device("a100-sxm-80gb")
    truth = UNFITTED.model_copy(update={"table": 0.78, "gather_copy": 1.2})
    shapes = [
        measured_of(row(system="a100_sxm", op=op, num_gpus=ranks, bytes=size))
        for op in ("all_reduce", "all_gather", "reduce_scatter", "alltoall")
        for ranks in (2, 4, 8)
        for size in SIZES
    ]
    made = predicted_seconds(with_fit(device, truth), batches_of(shapes))
    rows = [
        measured_of(row(system="a100_sxm", op=shape.op_name, num_gpus=shape.ranks, bytes=shape.full_bytes,
                        latency_ms=made_s * 1e3))
        for shape, made_s in zip(shapes, made, strict=True)
    ]  # fmt: skip
    found = predicted_seconds(with_fit(device, fit_rows(device, rows)), batches_of(shapes))
    assert np.abs(found / made - 1).max() < 0.01
