import numpy as np
import pytest

from planner.calibration import attention_decode, attention_prefill
from planner.calibration.attention_fit import fit_decode, fit_prefill
from planner.calibration.attention_rows import (
    GROUPED_DECODE,
    LONG_PREFILL,
    SHORT_PREFILL,
    Shapes,
    decode_parts,
    decode_seconds,
    prefill_parts,
    prefill_seconds,
)
from planner.calibration.attention_training import BACKWARD_FLOPS, FILE, cores_of, fit_backward
from planner.calibration.rows import Row, RowError
from planner.costs.kernels.attention import (
    backward_attention_seconds,
    decode_attention_seconds,
    prefill_attention_seconds,
)
from planner.domain.catalog import read_device
from planner.errors import SpecError


def row(line=2, **fields):
    content = {
        "batch_size": "4",
        "seq_len": "2048",
        "kv_len": "2048",
        "num_heads": "32",
        "num_kv_heads": "8",
        "head_dim": "128",
        "latency_ms": "0.3",
    }
    return Row(line=line, fields=content | {name: str(value) for name, value in fields.items()})


def ignore(done):
    assert done >= 0


def grid(seconds):
    """Shapes of six models, and what a device measures for them."""
    heads = [(8, 1), (32, 8), (16, 16), (40, 8), (64, 4), (12, 2)]
    sizes = [
        (batch, length, query, kv)
        for batch in (1, 8, 64)
        for length in (64, 512, 4096)
        for query, kv in heads
    ]
    batch, length, query, kv = np.array(sizes, dtype=float).T
    shapes = Shapes(
        sequences=batch,
        length=length,
        heads=query,
        kv_heads=kv,
        head_dim=np.full(len(sizes), 128.0),
        seconds=np.ones(len(sizes)),
        engines=np.full(len(sizes), ""),
    )
    return Shapes(**{name: getattr(shapes, name) for name in shapes.__slots__} | {"seconds": seconds(shapes)})


def test_a_prefill_row_is_predicted_by_the_costs():
    (judged,) = attention_prefill.evaluate([row()], read_device("h100"), ignore).judged
    work = {"sequences": 4, "tokens": 2048, "heads": 32, "kv_heads": 8, "head_dim": 128}
    assert judged.predicted == pytest.approx(prefill_attention_seconds(read_device("h100"), **work))
    assert judged.measured == pytest.approx(3e-4)
    assert judged.low < judged.predicted < judged.high


def test_a_decode_row_is_predicted_with_a_warm_cache():
    (judged,) = attention_decode.evaluate([row()], read_device("a100"), ignore).judged
    work = {"sequences": 4, "context": 2048, "heads": 32, "kv_heads": 8, "head_dim": 128, "warm": True}
    assert judged.predicted == pytest.approx(decode_attention_seconds(read_device("a100"), **work))


def test_frameworks_are_sources_and_have_kernels_of_their_own():
    rows = [row(2, framework="vllm-0.14.0"), row(3, framework="sglang-0.5.10"), row(4)]
    found = attention_prefill.evaluate(rows, read_device("a100"), ignore).judged
    assert [judged.source for judged in found] == ["vllm-0.14.0", "sglang-0.5.10", "measured"]
    assert len({judged.predicted for judged in found}) == 3


def test_a_version_never_measured_is_less_certain_than_its_neighbour():
    rows = [row(2, framework="vllm-0.24.0"), row(3, framework="vllm-0.24.1")]
    measured, other = attention_prefill.evaluate(rows, read_device("h100"), ignore).judged
    assert other.predicted == measured.predicted
    assert other.high / other.low > measured.high / measured.low


@pytest.mark.parametrize("column", ["device", "system", "gpu"])
def test_a_column_may_name_the_device(column):
    found = attention_decode.evaluate([row(2, **{column: "h100_sxm"})], None, ignore).judged
    alone = attention_decode.evaluate([row(2)], read_device("h100"), ignore).judged
    assert found[0].predicted == alone[0].predicted


def test_a_file_that_names_no_device_needs_one():
    with pytest.raises(SpecError, match="--device"):
        attention_prefill.evaluate([row()], None, ignore)


def test_rows_that_cannot_be_expressed_are_skipped_with_a_reason():
    done = []
    rows = [
        row(2, device="abacus"),
        row(3, device="h100", num_kv_heads=7),
        row(4, device="h100", dtype="fp8"),
        row(5, device="h100", dtype="bfloat16"),
    ]
    found = attention_decode.evaluate(rows, None, done.append)
    assert {skipped.line: skipped.reason for skipped in found.skipped} == {
        2: "unknown device",
        3: "query heads are not a multiple of key-value heads",
        4: "attention in fp8 is not modelled",
    }
    assert [judged.line for judged in found.judged] == [5]
    assert sum(done) == 4


def test_no_key_value_heads_means_as_many_as_query_heads():
    found = attention_prefill.evaluate(
        [row(2, num_kv_heads=0), row(3, num_kv_heads=32)], read_device("h100"), ignore
    )
    assert found.judged[0].predicted == found.judged[1].predicted


def test_all_broken_rows_are_named():
    rows = [row(2), row(3, seq_len="many"), row(4, latency_ms=-1)]
    with pytest.raises(RowError, match=r"line 3: seq_len.*\n.*line 4: latency_ms"):
        attention_prefill.evaluate(rows, read_device("h100"), ignore)


def test_long_prefill_counts_half_of_the_scores():
    shapes = grid(lambda of: of.length)
    long = prefill_parts(shapes) == LONG_PREFILL
    flops = 4 * shapes.sequences * shapes.heads * 128 * shapes.length**2 / 2
    assert (long == (flops >= 1e11)).all()
    assert set(prefill_parts(shapes)) == {LONG_PREFILL, SHORT_PREFILL}
    assert set(shapes.heads[decode_parts(shapes) == GROUPED_DECODE]) == {8, 12, 32, 40}


@pytest.mark.parametrize("name", ["a100-sxm-80gb", "h100-sxm-80gb"])
def test_what_is_shipped_holds_on_heads_that_it_has_not_seen(name):
    engines = read_device(name).kernels.attention.engines
    assert len(engines) == 2
    for kernels in engines.values():
        assert kernels.prefill.record.parts[LONG_PREFILL].mape < 0.06
        assert kernels.decode.record.parts[GROUPED_DECODE].mape < 0.06
        for record in (kernels.prefill.record, kernels.decode.record):
            assert record.held_out.mape < 0.08
            assert record.held_out.coverage == pytest.approx(0.9, abs=0.02)


def test_a_prefill_fit_finds_a_device_that_follows_the_model():
    device = read_device("a100")
    found = fit_prefill(device, grid(lambda shapes: prefill_seconds(device, shapes, "vllm-0.14.0")))
    assert found.record.held_out.mape < 0.02
    assert found.record.parts[LONG_PREFILL].mape < 0.02
    assert found.share == pytest.approx(device.kernels.attention.of("vllm-0.14.0").prefill.share, rel=0.1)


def test_a_decode_fit_finds_a_device_that_follows_the_model():
    device = read_device("h100")
    found = fit_decode(device, grid(lambda shapes: decode_seconds(device, shapes, "vllm-0.24.0")))
    assert found.record.held_out.mape < 0.03
    assert found.record.rows == 54


def test_efficiencies_of_training_count_masked_scores(tmp_path):
    shape = "batch=1, seq_len=1000, head_num=10, kv_head_num=2, qk_head_dim=192, v_head_dim=128, more=True"
    lines = ["gpu,op,shape,peak_tflops,efficiency"]
    lines += [f'{gpu},{op},"{shape}",100,0.5' for gpu in ("A", "B") for op in ("sdp_fwd", "sdp_bwd")]
    (tmp_path / FILE).write_text("\n".join(lines))
    forward, backward = (cores_of(tmp_path, op=op, gpu="A") for op in ("sdp_fwd", "sdp_bwd"))
    assert forward.seconds == pytest.approx([2 * 10 * 1000**2 * 320 / 50e12])
    assert backward.seconds == pytest.approx(BACKWARD_FLOPS * forward.seconds)
    assert forward.sizes.tolist() == [[1, 1000, 10, 2, 192, 128]]


def test_a_backward_fit_finds_a_device_that_follows_the_model(tmp_path):
    device = read_device("a100")
    known = device.kernels.attention
    lines = ["gpu,op,shape,peak_tflops,efficiency"]
    for heads, kv_heads, keys in (
        (4, 1, 128),
        (16, 2, 128),
        (32, 8, 192),
        (64, 64, 192),
        (64, 8, 128),
        (24, 8, 64),
    ):
        work = {"tokens": 4096, "heads": heads, "kv_heads": kv_heads, "head_dim": keys, "value_dim": 128}
        seconds = backward_attention_seconds(device, sequences=1, **work)
        efficiency = BACKWARD_FLOPS * 2 * heads * 4096**2 * (keys + 128) / seconds / 312e12
        shape = f"batch=1, seq_len=4096, head_num={heads}, kv_head_num={kv_heads}, qk_head_dim={keys}"
        shape += ", v_head_dim=128"
        lines.append(f'A100,sdp_bwd,"{shape}",312,{efficiency}')
    (tmp_path / FILE).write_text("\n".join(lines))
    found = fit_backward(device, cores_of(tmp_path, op="sdp_bwd", gpu="A100"), forward=known.prefill)
    assert found.share == pytest.approx(known.backward.share, rel=0.05)
    assert found.record.held_out.mape < 0.02
