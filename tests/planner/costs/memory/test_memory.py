from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.memory.activations import Batch, head_bytes, layer_bytes_per_token
from planner.costs.memory.memory import (
    fits,
    generation_bytes,
    host_bytes,
    inference_bytes,
    peak_training_bytes,
    persistent_bytes,
    training_bytes,
    transient_bytes,
)
from planner.costs.memory.states import states_at
from planner.costs.passes.data_parallel import Sizes
from planner.costs.passes.training import RECOMPUTE, sizes_of
from planner.costs.setting import Job
from planner.domain.catalog import read_device, read_model, read_training_stack
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.units import GIB

layouts = st.builds(
    ParallelStrategy,
    pipeline=st.integers(1, 8),
    tensor=st.sampled_from([1, 2, 4, 8]),
    data=st.integers(1, 16),
    context=st.sampled_from([1, 2]),
)
models = st.sampled_from(["llama-2-7b", "qwen2.5-1.5b", "opt-13b", "qwen3-30b-a3b", "moonlight-16b-a3b"])
quick = settings(max_examples=40)


@pytest.fixture(scope="module")
def job(setting):
    return setting.job


def with_stack(job, **changes):
    return replace(job, stack=job.stack.model_copy(update=changes))


def batch(sequences=1, total=64, tokens=2048):
    return Batch(sequences=sequences, total=total, tokens=tokens)


@pytest.mark.parametrize(("precision", "alone", "sharded"), [("bf16", 18, 7.5), ("fp32", 16, 9)])
def test_a_trained_parameter_costs_what_the_mixed_precision_recipe_says(setting, precision, alone, sharded):
    at = replace(setting, precision=precision)
    count = setting.model.parameters()
    one = persistent_bytes(at, ParallelStrategy(), is_trained=True)
    eight = persistent_bytes(at, ParallelStrategy(data=8), is_trained=True)
    assert sum(one.values()) == pytest.approx(alone * count, rel=1e-6)
    assert sum(eight.values()) == pytest.approx(sharded * count, rel=1e-6)


@pytest.mark.parametrize(
    ("sharding", "per_parameter"),
    [("none", 18), ("optimizer", 6 + 12 / 8), ("gradients", 2 + 16 / 8), ("full", 16 / 8)],
)
def test_each_stage_of_zero_shards_more(setting, sharding, per_parameter):
    """ZeRO, 1910.02054, figure 1, with fp32 gradients; full sharding keeps no 16-bit copy."""
    stack = setting.stack.model_copy(
        update={"training": setting.stack.training.model_copy(update={"sharding": sharding})}
    )
    held = persistent_bytes(replace(setting, stack=stack), ParallelStrategy(data=8), is_trained=True)
    assert sum(held.values()) == pytest.approx(per_parameter * setting.model.parameters(), rel=1e-6)


def test_a_role_that_is_not_trained_keeps_only_its_parameters(setting):
    held = persistent_bytes(setting, ParallelStrategy(tensor=8), is_trained=False)
    assert set(held) == {"parameters"}
    assert held["parameters"] == pytest.approx(2 * setting.model.parameters() / 8, rel=1e-3)


def test_context_ranks_share_the_optimizer(setting):
    both = persistent_bytes(setting, ParallelStrategy(data=2, context=4), is_trained=True)
    assert both == persistent_bytes(setting, ParallelStrategy(data=8), is_trained=True)


def test_experts_are_spread_and_their_states_sharded_over_fewer_ranks(setting):
    """Qwen3-30B-A3B: each rank of e = 8 holds 16 of 128 experts, whose states d / e = 2 ranks share."""
    model = read_model("qwen3-30b-a3b")
    at = replace(setting, model=model)
    held = persistent_bytes(at, ParallelStrategy(data=16, expert=8), is_trained=True)
    experts = 48 * 16 * model.expert_parameters
    rest = model.parameters() - 48 * 128 * model.expert_parameters
    assert held["parameters"] == pytest.approx(2 * (experts + rest), rel=1e-5)
    assert held["optimizer"] == pytest.approx(12 * (experts / 2 + rest / 16), rel=1e-5)


def test_the_vocabulary_is_padded_as_the_stack_says(setting):
    model = read_model("gpt-3-175b")
    job = replace(setting.job, model=model)
    padded = with_stack(job, vocabulary_multiple=128)
    sizes = Sizes(pipeline=1, tensor=8, data=1)
    rows = states_at(padded, sizes, 0).gradients - states_at(job, sizes, 0).gradients
    assert rows == 4 * (6400 - 6283) * model.hidden  # 50257 rows over 8 ranks, then a multiple of 128


def test_activations_of_one_layer_are_korthikantis_without_dropout_and_scores(job):
    """For MHA and a gated MLP of width f, 16 h + 6 f bytes per token in bf16, and one fp32 per head."""
    model = job.model
    alone = layer_bytes_per_token(job, 1, 2048, is_sparse=False)
    assert alone == 16 * model.hidden + 6 * model.ffn + 4 * model.heads
    assert layer_bytes_per_token(job, 8, 2048, is_sparse=False) == alone / 8
    whole = layer_bytes_per_token(with_stack(job, sequence_parallel=False), 8, 2048, is_sparse=False)
    assert whole == 8 * model.hidden + (alone - 8 * model.hidden) / 8


def test_without_flash_attention_scores_are_kept_until_selective_recomputation(job):
    """GPT-3: 34 h + 5 a s without the two bytes of dropout masks (2205.05198, equation 1)."""
    gpt = with_stack(replace(job, model=read_model("gpt-3-175b")), flash_attention=False)
    kept = layer_bytes_per_token(gpt, 1, 2048, is_sparse=False)
    again = layer_bytes_per_token(gpt, 1, 2048, is_sparse=False, is_selective=True)
    assert again == 32 * 12288
    assert kept == again + 5 * 96 * 2048


def test_a_layer_with_experts_keeps_a_tokens_copies_and_the_width_that_it_uses(job):
    """Qwen3-30B-A3B in bf16: 8 copies of 2048, 3 x 8 x 768 of the experts, the router's 128 in fp32 twice."""
    model = read_model("qwen3-30b-a3b")
    moe = replace(job, model=model)
    kept = layer_bytes_per_token(moe, 1, 2048, is_sparse=True)
    attention = 2 * (4 * 2048 + 2 * 4096 + 2 * 512) + 4 * 32
    assert kept == attention + 2 * (8 * 2048 + 3 * 8 * 768) + 8 * 128


def test_every_rank_keeps_at_least_one_key_head(job):
    grouped = replace(job, model=read_model("qwen2.5-7b"))

    def per_token(tensor):
        return layer_bytes_per_token(grouped, tensor, 2048, is_sparse=False)

    one_head_more = 2 * 2 * grouped.model.head_dim
    assert per_token(28) - per_token(4) / 7 == pytest.approx(one_head_more * (1 - 1 / 7))


def activations(job, *, recompute="none", **sizes):
    all_sizes = Sizes(**({"pipeline": 1, "tensor": 1, "data": 1} | sizes))
    return transient_bytes(job, all_sizes, batch(), recompute=RECOMPUTE[recompute])["activations"]


def test_the_first_of_four_stages_keeps_four_micro_batches(job):
    assert activations(job, pipeline=4) == activations(job)


def test_interleaved_chunks_keep_a_share_more(job):
    """1 + (p - 1) / (p v) of the activations of one pass (2205.05198, section 4.2.3)."""
    assert activations(job, pipeline=4, virtual=2) == pytest.approx(activations(job) * (1 + 3 / 8))


def test_recomputation_keeps_layer_inputs_and_one_layer(job):
    kept, again = activations(job, tensor=8), activations(job, tensor=8, recompute="full")
    inputs = 2048 * 32 * 2 * job.model.hidden // 8
    assert again == pytest.approx(inputs + kept / 32)
    assert activations(job, recompute="selective") < activations(job)


def test_context_ranks_share_the_tokens(job):
    assert activations(job, context=4) == activations(job) / 4


def test_the_logits_are_cut_over_the_vocabulary(job):
    """bf16 logits and their fp32 copy, the softmax in place."""
    assert head_bytes(job, 8, 10000, backward=True) == 10000 * 4000 * 6
    scalar = replace(job, head="scalar")
    assert head_bytes(scalar, 8, 10000, backward=True) == 10000 * 4 * job.model.hidden


def test_offloaded_states_move_to_the_host_and_come_back_for_the_step(setting):
    layout = ParallelStrategy(tensor=8)
    here = persistent_bytes(setting, layout, is_trained=True)
    gone = persistent_bytes(setting, layout, is_trained=True, offload="optimizer")
    there = host_bytes(setting, layout, offload="optimizer")
    assert gone | there == here
    assert set(there) == {"optimizer"}
    strategy = RoleStrategy(train=layout)
    moved = strategy.model_copy(update={"offload": "optimizer"})
    assert training_bytes(setting, moved) == training_bytes(setting, strategy) | there
    everything = persistent_bytes(setting, layout, is_trained=True, offload="all")
    assert everything == {}
    idle = strategy.model_copy(update={"offload": "all"})
    assert inference_bytes(setting, idle)["parameters"] == here["parameters"]


@quick
@given(layouts, models, st.integers(1, 64), st.sampled_from(["none", "selective", "full"]))
def test_memory_never_falls_with_the_micro_batch(setting, layout, name, micro_batch, recompute):
    at = replace(setting, model=read_model(name))
    smaller = RoleStrategy(train=layout, micro_batch=micro_batch, recompute=recompute)
    larger = smaller.model_copy(update={"micro_batch": micro_batch + 1})
    for peak in (training_bytes, inference_bytes):
        assert sum(peak(at, smaller).values()) <= sum(peak(at, larger).values())


@quick
@given(layouts, models, st.integers(1, 9), st.integers(1, 200), st.sampled_from([0, 1, 2]), st.integers(1, 3))
def test_memory_never_falls_with_the_batch(setting, layout, name, micro_batch, total, recompute, virtual):
    job = replace(setting.job, model=read_model(name))
    sizes = replace(sizes_of(layout), virtual=virtual if layout.pipeline > 1 else 1)
    smaller = peak_training_bytes(job, sizes, batch(micro_batch, total), recompute=recompute)
    assert smaller <= peak_training_bytes(job, sizes, batch(micro_batch, total + 1), recompute=recompute)
    longer = batch(micro_batch, total, tokens=2049)
    assert smaller <= peak_training_bytes(job, sizes, longer, recompute=recompute)


@quick
@given(models, st.integers(0, 2**32 - 1))
def test_arrays_of_layouts_are_counted_like_one(setting, name, seed):
    job = replace(setting.job, model=read_model(name))
    draw = np.random.default_rng(seed)
    pick = {
        "pipeline": [1, 2, 3, 8],
        "tensor": [1, 2, 8],
        "data": [1, 3, 16],
        "virtual": [1, 2],
        "context": [1, 2],
        "expert": [1, 2],
    }
    sizes = Sizes(**{key: draw.choice(values, 20) for key, values in pick.items()})
    sizes = replace(sizes, virtual=np.where(sizes.pipeline == 1, 1, sizes.virtual))
    drawn = Batch(sequences=draw.integers(1, 5, 20), total=draw.integers(1, 99, 20), tokens=2048)
    recompute = draw.integers(0, 3, 20)
    together = peak_training_bytes(job, sizes, drawn, recompute=recompute)
    for index in range(20):
        one = Sizes(**{key: int(getattr(sizes, key)[index]) for key in pick})
        single = Batch(
            sequences=int(drawn.sequences[index]), total=int(drawn.total[index]), tokens=drawn.tokens
        )
        alone = peak_training_bytes(job, one, single, recompute=int(recompute[index]))
        assert alone == pytest.approx(together[index], rel=1e-12, abs=1)


@quick
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 1023))
def test_more_sequences_at_once_need_more_cache(setting, tensor, max_sequences):
    def peak(sequences):
        generate = GenerationStrategy(tensor=tensor, replicas=1, max_sequences=sequences)
        return generation_bytes(setting, generate)["kv_cache"]

    assert peak(max_sequences) < peak(max_sequences + 1)


def test_the_whole_batch_of_7b_on_16_devices_caches_69_gb_on_each(setting):
    """HybridFlow, section 8.4: 0.5 MiB a token, so no t_g holds the batch beside the states at once."""
    generate = GenerationStrategy(tensor=8, replicas=2, max_sequences=512)
    assert generation_bytes(setting, generate)["kv_cache"] == pytest.approx(69e9, rel=0.01)


def cached(setting, name, tensor, tokens=2049):
    workload = setting.workload.model_copy(
        update={"response_tokens": type(setting.workload.response_tokens)(mean=1, maximum=tokens - 1024)}
    )
    at = replace(setting, model=read_model(name), workload=workload)
    generate = GenerationStrategy(tensor=tensor, replicas=8 // tensor, max_sequences=1)
    return generation_bytes(at, generate)["kv_cache"]


def test_the_cache_is_paged_and_a_latent_is_whole_on_every_rank(setting):
    assert cached(setting, "llama-2-7b", 1) == 2064 * 2**19  # 129 blocks of 16 tokens
    assert cached(setting, "llama-2-7b", 8) == 2064 * 2**16
    assert cached(setting, "qwen2.5-7b", 4) == cached(setting, "qwen2.5-7b", 8)
    assert cached(setting, "moonlight-16b-a3b", 8) == 2064 * 27 * 576 * 2


def test_captured_graphs_keep_the_working_set_of_the_largest_batch(setting):
    """Residual and norm, and in front of an MLP of width f its three tensors: 2 h + 3 f / t elements."""

    def graphs(sequences):
        generate = GenerationStrategy(tensor=8, replicas=2, max_sequences=sequences)
        return generation_bytes(setting, generate)["graphs"]

    per_token = 2 * (2 * setting.model.hidden + 3 * setting.model.ffn // 8)
    assert graphs(100) == 100 * per_token
    assert graphs(1024) == setting.stack.generation.graph_sequences * per_token


def smallest_ppo_bytes(setting, devices):
    """Bytes per device of PPO's four models of one size, cut over all devices, each call at its leanest."""
    stages = devices // 8
    layout = ParallelStrategy(pipeline=stages, tensor=8)
    lean = RoleStrategy(train=layout, recompute="full")
    generate = GenerationStrategy(pipeline=stages, tensor=8, replicas=1, max_sequences=1)
    scalar = replace(setting, head="scalar")
    states = [
        persistent_bytes(setting, layout, is_trained=True),
        persistent_bytes(scalar, layout, is_trained=True),
        persistent_bytes(setting, layout, is_trained=False),
        persistent_bytes(scalar, layout, is_trained=False),
    ]
    peaks = [
        training_bytes(setting, lean),
        generation_bytes(setting, generate),
        inference_bytes(setting, lean),
    ]
    return sum(sum(kinds.values()) for kinds in states) + max(sum(kinds.values()) for kinds in peaks)


MINIMA = [("llama-2-7b", 8), ("llama-2-13b", 16), ("codellama-34b", 32), ("llama-2-70b", 64)]
"""Fewest devices of PPO in HybridFlow, figure 9."""


@pytest.mark.parametrize(("name", "devices"), MINIMA)
def test_the_papers_fewest_devices_have_room(setting, node_pool, name, devices):
    sized = replace(setting, model=read_model(name))
    assert smallest_ppo_bytes(sized, devices) < node_pool.device.usable_memory


@pytest.mark.parametrize(("name", "devices"), MINIMA[2:])
def test_half_the_papers_fewest_devices_have_none(setting, node_pool, name, devices):
    sized = replace(setting, model=read_model(name))
    assert smallest_ppo_bytes(sized, devices // 2) > node_pool.device.usable_memory


PEAKS_GIB = {"p2t1d4": 66.19, "p1t2d4": 59.59, "p1t4d2": 38.44, "p1t8d1": 27.86}
"""Predicted for 12 layers of Llama-3-70B under Megatron-LM in bf16, micro-batches of one sequence of 4096;
measured on B200: 66.55, 60.68, 39.07 and 28.29 (SimuMax 1.2, B200 release summary)."""


@pytest.mark.parametrize(("layout", "peak"), PEAKS_GIB.items())
def test_peaks_near_the_measured_ones_stay_as_they_are(node_pool, layout, peak):
    job = Job(
        model=read_model("llama-3.1-70b").model_copy(update={"layers": 12}),
        head="vocabulary",
        precision="bf16",
        node_pool=node_pool.model_copy(update={"device": read_device("b200")}),
        stack=read_training_stack("megatron-core"),
        tokens=4096,
    )
    sizes = sizes_of(ParallelStrategy.parse(layout))
    found = peak_training_bytes(job, sizes, batch(1, 4, 4096), recompute=0)
    assert found / GIB == pytest.approx(peak, abs=0.01)
    assert fits(job, sizes, batch(1, 4, 4096), recompute=0)
    small = replace(job, node_pool=node_pool.model_copy(update={"device": read_device("a40")}))
    assert fits(small, sizes, batch(1, 4, 4096), recompute=0) == (peak < 43)


RAN = [
    ("llama-2-70b", "nemo", "h100", "fp8", "p4t4d1v20", batch(16, 512, 256), 0),
    ("llama-2-70b", "nemo", "h100", "fp8", "p4t4d4v20", batch(1, 32, 4096), 0),
    ("llama-3.1-70b", "nemo", "h100", "bf16", "p4t4d2c2v5", batch(1, 64, 8192), 0),
    ("llama-2-13b", "nemo", "h100", "fp8", "p1t4d16", batch(1, 8, 4096), 0),
]
"""Configurations of published training runs (NeMo's performance summary and NVIDIA's DGXC recipes)."""


@pytest.mark.parametrize(("model", "stack", "device", "precision", "layout", "ran", "recompute"), RAN)
def test_what_ran_has_room(node_pool, model, stack, device, precision, layout, ran, recompute):
    job = Job(
        model=read_model(model),
        head="vocabulary",
        precision=precision,
        node_pool=node_pool.model_copy(update={"device": read_device(device)}),
        stack=read_training_stack(stack),
        tokens=ran.tokens,
    )
    assert fits(job, sizes_of(ParallelStrategy.parse(layout)), ran, recompute=recompute)
