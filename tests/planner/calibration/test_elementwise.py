import pytest

from planner.calibration.elementwise import GAP, fit_device, moved_bytes, streamed_of
from planner.calibration.rows import Row
from planner.domain.catalog import read_device

A100 = read_device("a100-sxm-80gb")


def row(model="one", tokens=1024, **times):
    content = {
        "model": model,
        "tp": "2",
        "num_tokens": str(tokens),
        "n_embd": "4096",
        "n_head": "32",
        "n_kv_head": "8",
        "ffn": "14336",
        "gated": "1",
    }
    return Row(line=2, fields=content | {name: str(value) for name, value in times.items()})


def test_bytes_of_a_layer_s_kernels():
    assert moved_bytes(row(tokens=1)) == {
        "plain": 2 * 3 * 4096,
        "norm": 2 * 2 * 4096,
        "activation": 2 * 3 * 7168,
        "rotary": 2 * 2 * (16 + 4) * 128,
        "embedding": 2 * 2 * 4096,
    }


def test_kernels_that_a_model_lacks_or_that_are_too_short_are_left_out():
    kernels = streamed_of([row(add_ms=0.1, mlp_act_ms="", attn_rope_ms=0.0001)])
    assert [(kernel.kind, kernel.seconds) for kernel in kernels] == [("plain", pytest.approx(1e-4))]


def test_a_fit_finds_the_share_and_the_launch_that_made_its_rows():
    columns = {
        "add_ms": 0.8,
        "input_layernorm_ms": 0.4,
        "mlp_act_ms": 0.5,
        "attn_rope_ms": 0.6,
        "emb_ms": 0.2,
    }
    names = {"add_ms": "plain", "input_layernorm_ms": "norm", "mlp_act_ms": "activation"}
    names |= {"attn_rope_ms": "rotary", "emb_ms": "embedding"}
    rows = []
    for model in ("one", "two"):
        for tokens in (1, 64, 1024, 8192, 65536):
            moved = moved_bytes(row(tokens=tokens))
            times = {
                column: 1e3 * (3e-6 + moved[names[column]] / (share * A100.memory_bandwidth))
                for column, share in columns.items()
            }
            rows.append(row(model, tokens, **times))
    found = fit_device(A100, streamed_of(rows))
    assert found.share == pytest.approx(0.8, rel=1e-3)
    assert found.launch == pytest.approx(3e-6 + GAP, rel=1e-3)
    assert found.kinds["rotary"].share == pytest.approx(0.6, rel=1e-3)
    assert found.record.held_out.mape < 1e-3
