from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.arrays.generation_table import Generations, generation_table
from planner.costs.kernels.flops import forward_flops
from planner.costs.serving.engine_step import cached_bytes
from planner.costs.serving.generation import (
    decode_seconds,
    engine_of,
    generation_seconds,
    prefill_seconds,
    step_seconds,
)
from planner.domain.catalog import read_generation_stack, read_model
from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import GenerationStrategy


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


def cached_bytes_of(setting, generate):
    return cached_bytes(engine_of(setting), generate)


def with_responses(setting, mean, maximum):
    lengths = TokenLengths(mean=mean, maximum=maximum)
    return replace(setting, workload=setting.workload.model_copy(update={"response_tokens": lengths}))


def test_equal_lengths_are_the_sum_of_their_steps(setting):
    generate = layout(tensor=2, max_sequences=8)
    short = with_responses(setting, 50, 50)
    steps = [step_seconds(short, generate, batch=8, context=1024 + done) for done in range(50)]
    assert decode_seconds(short, generate, 8) == pytest.approx(sum(steps), rel=1e-6)


def test_sequences_beyond_the_limit_decode_in_a_further_wave(setting):
    one, three = layout(max_sequences=24), layout(max_sequences=8)
    third = decode_seconds(setting, one, 8)
    assert decode_seconds(setting, three, 24) == pytest.approx(3 * third, rel=1e-2)
    assert decode_seconds(setting, one, 24) < 3 * third


def test_the_longest_response_sets_a_floor_that_devices_do_not_lower(setting):
    tailed = with_responses(setting, 1000, 4000)
    floor = 3000 * step_seconds(tailed, layout(), batch=1, context=1024)
    assert generation_seconds(tailed, layout(replicas=1024)) > floor


def test_a_maximum_that_nobody_reaches_costs_nothing(setting):
    generate = layout(replicas=64)
    rare = generation_seconds(with_responses(setting, 100, 32000), generate)
    assert rare == pytest.approx(generation_seconds(with_responses(setting, 100, 16000), generate), rel=0.1)


@given(st.integers(200, 1024))
def test_a_shorter_mean_never_takes_longer(setting, mean):
    generate = layout(tensor=2, replicas=8)
    shorter = decode_seconds(with_responses(setting, mean, 1024), generate, 128)
    assert shorter <= decode_seconds(setting, generate, 128) * (1 + 1e-9)


def test_samples_of_one_prompt_share_its_prefill(setting):
    groups = setting.workload.model_copy(update={"prompts": 128, "samples_per_prompt": 8})
    alone, shared = layout(replicas=4), replace(setting, workload=groups)
    saved = generation_seconds(setting, alone) - generation_seconds(shared, alone)
    assert saved == pytest.approx(prefill_seconds(setting, alone, 256) * 7 / 8, rel=0.02)


def test_prompts_longer_than_a_pass_are_cut_and_attend_to_what_came_before(setting):
    lengths = TokenLengths(mean=32768, maximum=32768)
    long = replace(setting, workload=setting.workload.model_copy(update={"prompt_tokens": lengths}))
    whole = step_seconds(long, layout(), batch=0, context=0, prompts=1, prompt_tokens=32768)
    assert prefill_seconds(long, layout(), 1) == pytest.approx(whole, rel=0.1)


@given(layouts)
def test_generation_takes_at_least_its_flops_at_peak(setting, node_pool, generate):
    sequences = setting.workload.samples / generate.replicas
    flops = forward_flops(setting.model, setting.head, 1024) * sequences
    devices = generate.pipeline * generate.tensor
    assert prefill_seconds(setting, generate, 1024) > 0
    assert generation_seconds(setting, generate) >= flops / (node_pool.device.peak["bf16"] * devices)


FASTER = {
    "peak": lambda device: {"peak": {name: 1.5 * rate for name, rate in device.peak.items()}},
    "memory": lambda device: {"memory_bandwidth": 1.5 * device.memory_bandwidth},
    "link": lambda device: {
        "link": device.link.model_copy(update={"bandwidth": 1.5 * device.link.bandwidth})
    },
}


@given(layouts, st.sampled_from(sorted(FASTER)))
def test_a_faster_device_or_link_is_never_slower(setting, generate, name):
    pool = setting.node_pool
    device = pool.device.model_copy(update=FASTER[name](pool.device))
    better = replace(setting, node_pool=pool.model_copy(update={"device": device}))
    assert generation_seconds(better, generate) <= generation_seconds(setting, generate) * (1 + 1e-9)


@given(layouts)
def test_a_faster_network_is_never_slower(setting, generate):
    pool = setting.node_pool
    network = pool.network.model_copy(update={"bandwidth": 1.5 * pool.network.bandwidth})
    better = replace(setting, node_pool=pool.model_copy(update={"network": network}))
    assert generation_seconds(better, generate) <= generation_seconds(setting, generate) * (1 + 1e-9)


@given(layouts, st.floats(1, 512), st.floats(1, 8192))
def test_a_longer_context_or_a_larger_batch_never_makes_a_step_faster(setting, generate, batch, context):
    step = step_seconds(setting, generate, batch=batch, context=context)
    assert step <= step_seconds(setting, generate, batch=batch, context=2 * context)
    assert step <= step_seconds(setting, generate, batch=2 * batch, context=context)


def test_llama_7b_caches_half_a_mebibyte_per_token(setting):
    assert cached_bytes_of(setting, layout()) == 2**19
    assert cached_bytes_of(setting, layout(tensor=8)) == 2**16


def test_key_heads_are_copied_when_tensor_ranks_outnumber_them(setting):
    grouped = replace(setting, model=setting.model.model_copy(update={"kv_heads": 4}))
    assert cached_bytes_of(grouped, layout(tensor=4)) == cached_bytes_of(grouped, layout(tensor=8))


def test_every_tensor_rank_caches_the_whole_latent(setting):
    latent = replace(setting, model=read_model("deepseek-v3"))
    assert cached_bytes_of(latent, layout()) == 61 * (512 + 64) * 2
    assert cached_bytes_of(latent, layout(tensor=8)) == cached_bytes_of(latent, layout())


def test_many_sequences_per_replica_make_wide_tensor_groups_slow(setting):
    """HybridFlow, figure 15: 7B on 16 devices; the cache of 2,048 tokens fits in two waves at each t_g."""
    old = setting.stack.model_copy(update={"generation": read_generation_stack("vllm-0.3.1")})
    seconds = {
        tensor: generation_seconds(
            replace(setting, stack=old),
            layout(tensor=tensor, replicas=16 // tensor, max_sequences=32 * tensor),
        )
        for tensor in (1, 2, 4, 8)
    }
    assert max(seconds, key=seconds.__getitem__) == 8


VARIED = TokenLengths(mean=700, maximum=4096)


def test_one_replica_is_no_busier_than_itself(setting):
    """Its seconds are those of its responses; of several, the last one to be done takes longer."""
    varied = with_responses(setting, 700, 4096)
    alone = prefill_seconds(varied, layout(), 1024) + decode_seconds(varied, layout(), 1024)
    assert generation_seconds(varied, layout()) == pytest.approx(alone, rel=1e-12)


def test_the_busiest_of_more_replicas_is_further_above_the_mean(setting):
    """Each with 64 responses at once, and as many in all that any is the longest."""
    per_replica = {}
    for replicas in (2, 16, 128):
        work = setting.workload.model_copy(
            update={"prompts": 64 * replicas, "mini_batches": 1, "response_tokens": VARIED}
        )
        own = replace(setting, workload=work)
        alone = prefill_seconds(own, layout(), 64) + decode_seconds(own, layout(), 64)
        per_replica[replicas] = generation_seconds(own, layout(replicas=replicas)) / alone
    assert 1.005 < per_replica[2] < per_replica[16] < per_replica[128] < 1.2


def test_replicas_that_have_the_same_to_do_are_done_together(setting):
    """Equal lengths."""
    for replicas in (1, 4, 64):
        sequences = 1024 // replicas
        own = prefill_seconds(setting, layout(), sequences) + decode_seconds(setting, layout(), sequences)
        assert generation_seconds(setting, layout(replicas=replicas)) == pytest.approx(own, rel=1e-12)


def test_replicas_without_a_sequence_of_their_own_change_nothing(setting):
    tailed = with_responses(setting, 300, 1024)
    few = replace(tailed, workload=tailed.workload.model_copy(update={"prompts": 3, "mini_batches": 1}))
    assert generation_seconds(few, layout(replicas=8)) == generation_seconds(few, layout(replicas=3))


@given(st.integers(1, 40), st.lists(st.integers(1, 64), min_size=2, max_size=6))
def test_tables_cost_each_count_of_replicas_as_it_is_costed_alone(setting, prompts, replicas):
    workload = setting.workload.model_copy(update={"prompts": prompts, "mini_batches": 1})
    varied = with_responses(replace(setting, workload=workload), 300, 1024)
    ones = np.ones(len(replicas), dtype=np.int64)
    rows = Generations(
        pipeline=ones, tensor=8 * ones, replicas=np.array(replicas), max_sequences=ones, cache_tokens=0 * ones
    )
    alone = [
        generation_seconds(varied, layout(tensor=8, replicas=count, max_sequences=1)) for count in replicas
    ]
    assert generation_table(varied, rows).seconds == pytest.approx(alone, rel=1e-9)
