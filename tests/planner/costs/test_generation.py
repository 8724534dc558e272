from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.generation import (
    decode_seconds,
    generation_seconds,
    kv_bytes_per_token,
    prefill_seconds,
    step_seconds,
)
from planner.costs.kernels import forward_flops
from planner.domain.parallelism import GenerationStrategy
from planner.domain.workload import TokenLengths


def layout(pipeline=1, tensor=1, replicas=1, max_sequences=64):
    return GenerationStrategy(
        pipeline=pipeline, tensor=tensor, replicas=replicas, max_sequences=max_sequences
    )


layouts = st.builds(
    layout,
    pipeline=st.sampled_from([1, 2, 3]),
    tensor=st.sampled_from([1, 2, 4, 8]),
    replicas=st.sampled_from([1, 3, 16]),
    max_sequences=st.integers(1, 1024),
)


def with_responses(setting, mean, maximum):
    lengths = TokenLengths(mean=mean, maximum=maximum)
    return replace(setting, workload=setting.workload.model_copy(update={"response_tokens": lengths}))


def test_equal_lengths_are_the_sum_of_their_steps(setting):
    generate = layout(tensor=2, max_sequences=8)
    short = with_responses(setting, 50, 50)
    steps = [step_seconds(short, generate, batch=8, context=1024 + done) for done in range(50)]
    assert decode_seconds(short, generate, 8) == pytest.approx(sum(steps))


def test_sequences_beyond_the_limit_decode_in_a_further_wave(setting):
    one, three = layout(max_sequences=24), layout(max_sequences=8)
    third = decode_seconds(setting, one, 8)
    assert decode_seconds(setting, three, 24) == pytest.approx(3 * third)
    assert decode_seconds(setting, one, 24) < 3 * third


def test_the_longest_response_sets_a_floor_that_devices_do_not_lower(setting):
    tailed = with_responses(setting, 100, 4000)
    floor = 4000 * step_seconds(tailed, layout(), batch=0, context=0)
    assert generation_seconds(tailed, layout(replicas=1024)) > floor


@given(st.integers(200, 1024))
def test_a_shorter_mean_never_takes_longer(setting, mean):
    generate = layout(tensor=2, replicas=8)
    shorter = decode_seconds(with_responses(setting, mean, 1024), generate, 128)
    assert shorter <= decode_seconds(setting, generate, 128) * (1 + 1e-9)


@given(layouts)
def test_generation_takes_at_least_its_flops_at_peak(setting, node_pool, generate):
    sequences = setting.workload.samples / generate.replicas
    flops = forward_flops(setting.model, setting.head, 1024) * sequences
    devices = generate.pipeline * generate.tensor
    assert prefill_seconds(setting, generate, 1024) > 0
    assert generation_seconds(setting, generate) >= flops / (node_pool.device.peak["bf16"] * devices)


@given(layouts)
def test_twice_every_speed_and_half_every_latency_is_half_the_time(setting, faster, generate):
    twice = replace(setting, rates=faster(setting.rates, 2.0))
    assert generation_seconds(twice, generate) == pytest.approx(generation_seconds(setting, generate) / 2)


@given(
    layouts,
    st.sampled_from(["prefill_flops_per_s", "memory_bytes_per_s", "link_bytes_per_s", "network_bytes_per_s"]),
)
def test_a_faster_device_or_link_is_never_slower(setting, generate, name):
    better = replace(setting, rates=replace(setting.rates, **{name: 1.5 * getattr(setting.rates, name)}))
    assert generation_seconds(better, generate) <= generation_seconds(setting, generate)


@given(layouts, st.floats(1, 512), st.floats(1, 8192))
def test_a_longer_context_or_a_larger_batch_never_makes_a_step_faster(setting, generate, batch, context):
    step = step_seconds(setting, generate, batch=batch, context=context)
    assert step <= step_seconds(setting, generate, batch=batch, context=2 * context)
    assert step <= step_seconds(setting, generate, batch=2 * batch, context=context)


def test_llama_7b_caches_half_a_mebibyte_per_token(setting):
    assert kv_bytes_per_token(setting, layout()) == 2**19
    assert kv_bytes_per_token(setting, layout(tensor=8)) == 2**16


def test_key_heads_are_copied_when_tensor_ranks_outnumber_them(setting):
    grouped = replace(setting, model=setting.model.model_copy(update={"kv_heads": 4}))
    assert kv_bytes_per_token(grouped, layout(tensor=4)) == kv_bytes_per_token(grouped, layout(tensor=8))


def test_many_sequences_per_replica_make_wide_tensor_groups_slow(setting):
    """HybridFlow, figure 15: 7B on 16 devices; the cache of 2,048 tokens fits in two waves at each t_g."""
    seconds = {
        tensor: generation_seconds(
            setting, layout(tensor=tensor, replicas=16 // tensor, max_sequences=32 * tensor)
        )
        for tensor in (1, 2, 4, 8)
    }
    assert min(seconds, key=seconds.__getitem__) == 2
    assert max(seconds, key=seconds.__getitem__) == 8
