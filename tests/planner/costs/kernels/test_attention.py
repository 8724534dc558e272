from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.kernels.attention import (
    backward_attention_seconds,
    decode_attention_seconds,
    prefill_attention_seconds,
    unfused_attention_seconds,
)
from planner.domain import catalog
from planner.errors import SpecError

read_device = cache(catalog.read_device)
DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb", "h200-sxm-141gb", "l40s-48gb")
LLAMA = {"heads": 32, "kv_heads": 8, "head_dim": 128}
HEADS = st.sampled_from([(1, 1), (8, 1), (16, 16), (32, 8), (40, 8), (64, 4), (96, 96)])


def flat(share=0.5, launch="0 s"):
    """A device of 100 TFLOP/s and 1 TB/s that nothing else is known of."""
    device = read_device("a100-sxm-80gb")
    content = device.model_dump(mode="json") | {
        "name": "flat",
        "peak": {"bf16": "100 TFLOP/s"},
        "memory_bandwidth": "1 TB/s",
        "kernels": {"attention": {"kind": "flat", "share": share, "launch": launch}},
    }
    return type(device).model_validate(content)


def scaled(device, **factors):
    """The device with faster rates."""
    peak = {name: rate * factors.get("peak", 1) for name, rate in device.peak.items()}
    bandwidth = device.memory_bandwidth * factors.get("memory", 1)
    l2 = int(device.l2 * factors.get("l2", 1))
    return device.model_copy(update={"peak": peak, "memory_bandwidth": bandwidth, "l2": l2})


def prefill_floor(device, sequences, tokens, past, heads, kv_heads, head_dim):
    pairs = tokens * past + tokens * (tokens + 1) / 2
    moved = 4 * sequences * head_dim * (tokens * heads + (tokens + past) * kv_heads)
    return max(
        4 * sequences * heads * head_dim * pairs / device.peak["bf16"], moved / device.memory_bandwidth
    )


def decode_floor(device, sequences, context, heads, kv_heads, head_dim):
    moved = 4 * sequences * head_dim * (context * kv_heads + heads)
    flops = 4 * sequences * heads * head_dim * context
    return max(flops / device.peak["bf16"], moved / device.memory_bandwidth)


def test_a_flat_device_prefills_at_its_share_of_the_peak():
    seconds = prefill_attention_seconds(flat(launch="1 ms"), sequences=1, tokens=10_000, **LLAMA)
    assert seconds == pytest.approx(1e-3 + 4 * 32 * 128 * 10_000 * 10_001 / 2 / 50e12)


def test_a_flat_device_decodes_at_its_share_of_the_memory_bandwidth():
    seconds = decode_attention_seconds(flat(), sequences=10, context=1000, **LLAMA)
    assert seconds == pytest.approx(4 * 10 * 128 * (1000 * 8 + 32) / 0.5e12)


def test_a_flat_device_takes_five_halves_as_long_backward():
    forward = prefill_attention_seconds(flat(), sequences=1, tokens=10_000, **LLAMA)
    assert backward_attention_seconds(flat(), sequences=1, tokens=10_000, **LLAMA) == pytest.approx(
        2.5 * forward
    )


@pytest.mark.parametrize("name", DEVICES)
@given(
    sequences=st.integers(1, 512),
    tokens=st.integers(1, 16384),
    past=st.sampled_from([0, 100, 100_000]),
    shape=HEADS,
    head_dim=st.sampled_from([64, 96, 128, 256]),
    engine=st.sampled_from([None, "vllm", "sglang-0.5.10", "unheard-of"]),
)
@settings(max_examples=40)
def test_prefill_never_beats_the_data_sheet(name, sequences, tokens, past, shape, head_dim, engine):
    device, (heads, kv_heads) = read_device(name), shape
    work = {"sequences": sequences, "tokens": tokens, "past_tokens": past, "engine": engine}
    work |= {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    seconds = prefill_attention_seconds(device, **work)
    floor = prefill_floor(device, sequences, tokens, past, heads, kv_heads, head_dim)
    assert seconds >= floor * (1 - 1e-12)
    for rate in ("peak", "memory"):
        assert prefill_attention_seconds(scaled(device, **{rate: 1.3}), **work) <= seconds


@pytest.mark.parametrize("name", DEVICES)
@given(
    sequences=st.integers(1, 4096),
    context=st.integers(1, 200_000),
    shape=HEADS,
    head_dim=st.sampled_from([64, 128, 288]),
    engine=st.sampled_from([None, "vllm-0.14.0", "vllm", "sglang"]),
    warm=st.booleans(),
)
@settings(max_examples=40)
def test_decode_never_beats_the_data_sheet(name, sequences, context, shape, head_dim, engine, warm):
    device, (heads, kv_heads) = read_device(name), shape
    work = {"sequences": sequences, "context": context, "engine": engine, "warm": warm}
    work |= {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    seconds = decode_attention_seconds(device, **work)
    assert seconds >= decode_floor(device, sequences, context, heads, kv_heads, head_dim) * (1 - 1e-12)
    for rate in ("peak", "memory", "l2"):
        assert decode_attention_seconds(scaled(device, **{rate: 1.3}), **work) <= seconds * (1 + 1e-12)


@pytest.mark.parametrize("name", DEVICES)
@given(
    sequences=st.integers(1, 512),
    context=st.integers(1, 100_000),
    shape=HEADS,
    engine=st.sampled_from([None, "vllm-0.14.0", "vllm", "sglang"]),
    warm=st.booleans(),
)
@settings(max_examples=40)
def test_more_decode_work_never_takes_less(name, sequences, context, shape, engine, warm):
    device, (heads, kv_heads) = read_device(name), shape
    shared = {"heads": heads, "kv_heads": kv_heads, "head_dim": 128, "engine": engine, "warm": warm}
    seconds = decode_attention_seconds(device, sequences=sequences, context=context, **shared)
    longer = decode_attention_seconds(device, sequences=sequences, context=context + 37, **shared)
    wider = decode_attention_seconds(device, sequences=sequences + 1, context=context, **shared)
    assert min(longer, wider) >= seconds * (1 - 1e-12)


@given(tokens=st.integers(1024, 8192), sequences=st.integers(1, 64))
@settings(max_examples=60)
def test_backward_takes_longer_than_forward(tokens, sequences):
    device = read_device("a100")
    work = {"sequences": sequences, "tokens": tokens, **LLAMA}
    forward = prefill_attention_seconds(device, **work, cached=False)
    assert 2 * forward < backward_attention_seconds(device, **work) < 5 * forward


def test_arrays_give_what_scalars_give():
    device = read_device("h100")
    sequences, lengths = np.array([[1], [7], [300]]), np.array([1, 128, 129, 700, 20_000])
    for seconds, name, rest in (
        (prefill_attention_seconds, "tokens", {"engine": "vllm"}),
        (decode_attention_seconds, "context", {"warm": True}),
        (backward_attention_seconds, "tokens", {}),
        (unfused_attention_seconds, "tokens", {"backward": True}),
    ):
        table = seconds(device, sequences=sequences, **{name: lengths}, **LLAMA, **rest)
        assert table.shape == (3, 5)
        alone = [
            [seconds(device, sequences=int(b), **{name: int(length)}, **LLAMA, **rest) for length in lengths]
            for b in sequences[:, 0]
        ]
        np.testing.assert_allclose(table, alone, rtol=1e-12)


def test_chunks_of_a_prompt_compute_what_the_whole_does():
    device, shape = flat(), {"sequences": 1, "heads": 8, "kv_heads": 8, "head_dim": 128}
    whole = prefill_attention_seconds(device, tokens=32_768, **shape)
    parts = [prefill_attention_seconds(device, tokens=8192, past_tokens=8192 * i, **shape) for i in range(4)]
    assert sum(parts) == pytest.approx(whole)


def test_without_a_mask_twice_the_pairs_are_computed():
    device = flat()
    masked = prefill_attention_seconds(device, sequences=1, tokens=30_000, **LLAMA)
    whole = prefill_attention_seconds(device, sequences=1, tokens=30_000, causal=False, **LLAMA)
    assert whole == pytest.approx(2 * masked, rel=1e-3)


def test_wider_values_than_keys_count():
    device, shape = flat(), {"sequences": 1, "tokens": 30_000, "heads": 8, "kv_heads": 8}
    equal = prefill_attention_seconds(device, head_dim=160, **shape)
    assert prefill_attention_seconds(device, head_dim=192, value_dim=128, **shape) == pytest.approx(equal)


def test_writing_the_cache_takes_time_of_its_own():
    device, work = read_device("h100"), {"sequences": 64, "tokens": 512, **LLAMA}
    assert prefill_attention_seconds(device, **work) > prefill_attention_seconds(device, **work, cached=False)


def test_small_caches_are_faster_warm_and_large_ones_are_not():
    device = read_device("h100")
    small = {"sequences": 8, "context": 4096, **LLAMA, "engine": "vllm-0.24.0"}
    large = {"sequences": 8, "context": 131_072, **LLAMA, "engine": "vllm-0.24.0"}
    assert decode_attention_seconds(device, **small, warm=True) < decode_attention_seconds(device, **small)
    assert decode_attention_seconds(device, **large, warm=True) == decode_attention_seconds(device, **large)


def test_an_engine_without_version_is_its_last_measured_one():
    device, work = read_device("h100"), {"sequences": 4, "context": 32_768, **LLAMA}
    last = decode_attention_seconds(device, **work, engine="vllm-0.24.0")
    assert decode_attention_seconds(device, **work, engine="vllm") == last
    assert decode_attention_seconds(device, **work, engine="vllm-0.14.0") != last


@pytest.mark.parametrize(
    ("engine", "measured"),
    [("vllm-0.9", "vllm-0.14.0"), ("vllm-0.20.1", "vllm-0.14.0"), ("vllm-1.0.0rc1", "vllm-0.24.0")],
)
def test_an_engine_of_another_version_is_its_nearest_measured_one(engine, measured):
    attention = read_device("h100").kernels.attention
    assert attention.of(engine) is attention.engines[measured]


def test_a_prefill_of_one_token_is_a_decode_step():
    device = read_device("h100")
    prefill = prefill_attention_seconds(
        device, sequences=64, tokens=np.array([1, 2]), past_tokens=999, **LLAMA
    )
    assert prefill[0] == decode_attention_seconds(device, sequences=64, context=1000, **LLAMA)
    assert prefill[1] == prefill_attention_seconds(device, sequences=64, tokens=2, past_tokens=999, **LLAMA)


def test_no_work_takes_a_launch():
    device = read_device("h100")
    launch = device.kernels.attention
    decode = decode_attention_seconds(device, sequences=np.array([0, 1]), context=0, **LLAMA)
    assert decode[0] <= decode[1] < 2 * launch.decode.launch
    prefill = prefill_attention_seconds(device, sequences=np.array([0, 1]), tokens=np.array([64, 0]), **LLAMA)
    assert prefill == pytest.approx(launch.prefill.launch, rel=0.2)


def test_an_engine_never_measured_takes_what_holds_for_any():
    device, work = read_device("h100"), {"sequences": 4, "context": 32_768, **LLAMA}
    any_engine = decode_attention_seconds(device, **work)
    assert decode_attention_seconds(device, **work, engine="unheard-of-1.0") == any_engine


def test_scores_in_memory_cost_more_than_flash_attention():
    device, work = read_device("a100"), {"sequences": 4, "tokens": 4096, **LLAMA}
    flash = prefill_attention_seconds(device, **work, cached=False)
    assert unfused_attention_seconds(device, **work, backward=False) > 2 * flash
    flash = backward_attention_seconds(device, **work)
    assert unfused_attention_seconds(device, **work, backward=True) > flash


def test_unfused_attention_moves_the_scores():
    device = read_device("a100")
    scores = 8 * 32 * 2048**2
    seconds = unfused_attention_seconds(
        device, sequences=8, tokens=2048, heads=32, kv_heads=32, head_dim=128, backward=False
    )
    assert seconds > scores * (4 * 2 + 1) / device.memory_bandwidth


PINNED = [
    ("a100-sxm-80gb", None, (4, 4096, 32, 8), (3136, 68.57, 8640)),
    ("a100-sxm-80gb", "vllm", (16, 2048, 64, 8), (7157, 126.4, 17460)),
    ("a100-sxm-80gb", "sglang", (1, 16384, 8, 1), (2997, 35.32, 8860)),
    ("h100-sxm-80gb", None, (4, 4096, 32, 8), (1082, 34.86, 2891)),
    ("h100-sxm-80gb", "vllm-0.24.0", (16, 2048, 64, 8), (2389, 56.07, 6053)),
    ("h100-sxm-80gb", "vllm-0.14.0", (1, 16384, 8, 1), (978.4, 22.35, 2874)),
    ("b200-sxm-180gb", None, (4, 4096, 32, 8), (629.5, 19.64, 1468)),
]
"""Device, engine; sequences, tokens, heads, key-value heads; microseconds of prefill, decode and backward."""


@pytest.mark.parametrize(("name", "engine", "shape", "microseconds"), PINNED)
def test_predictions_move_only_with_a_reason(name, engine, shape, microseconds):
    device, (sequences, tokens, heads, kv_heads) = read_device(name), shape
    shared = {"sequences": sequences, "heads": heads, "kv_heads": kv_heads, "head_dim": 128}
    predicted = (
        prefill_attention_seconds(device, tokens=tokens, engine=engine, **shared),
        decode_attention_seconds(device, context=tokens, engine=engine, warm=True, **shared),
        backward_attention_seconds(device, tokens=tokens, **shared),
    )
    assert np.array(predicted) * 1e6 == pytest.approx(microseconds, rel=0.01)


def test_a_precision_without_a_peak_is_refused():
    with pytest.raises(SpecError, match="peak names no fp8"):
        prefill_attention_seconds(flat(), sequences=1, tokens=8, precision="fp8", **LLAMA)
