from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.memory import (
    generation_bytes,
    inference_bytes,
    layer_activation_bytes,
    logits_bytes,
    persistent_bytes,
    training_bytes,
)
from planner.domain.catalog import read_model
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy

layouts = st.builds(
    ParallelStrategy,
    pipeline=st.integers(1, 8),
    tensor=st.sampled_from([1, 2, 4, 8]),
    data=st.integers(1, 16),
)


@pytest.mark.parametrize(("precision", "alone", "sharded"), [("bf16", 18, 7.5), ("fp32", 16, 9)])
def test_a_trained_parameter_costs_what_the_mixed_precision_recipe_says(setting, precision, alone, sharded):
    at = replace(setting, precision=precision)
    count = setting.model.parameters()
    one = persistent_bytes(at, ParallelStrategy(), is_trained=True)
    eight = persistent_bytes(at, ParallelStrategy(data=8), is_trained=True)
    assert sum(one.values()) == alone * count
    assert sum(eight.values()) == pytest.approx(sharded * count)


def test_a_role_that_is_not_trained_keeps_only_its_parameters(setting):
    held = persistent_bytes(setting, ParallelStrategy(tensor=8), is_trained=False)
    assert set(held) == {"parameters"}
    assert held["parameters"] == pytest.approx(2 * setting.model.parameters() / 8, rel=1e-3)


def test_activations_of_one_layer_are_korthikantis_without_dropout_and_scores(setting):
    """For MHA and a gated MLP of width f, 8 h + (8 h + 6 f) / t bytes per token in bf16."""
    model = setting.model
    assert layer_activation_bytes(setting, 1) == 16 * model.hidden + 6 * model.ffn
    assert layer_activation_bytes(setting, 8) == 8 * model.hidden + (8 * model.hidden + 6 * model.ffn) // 8


def test_the_first_of_four_stages_keeps_four_micro_batches(setting):
    long = replace(setting, model=setting.model.model_copy(update={"vocab": 64}))
    four = training_bytes(long, RoleStrategy(train=ParallelStrategy(pipeline=4)))
    one = training_bytes(long, RoleStrategy(train=ParallelStrategy()))
    assert four["activations"] == one["activations"]


def test_recomputation_keeps_layer_inputs_and_one_layer(setting):
    layout = ParallelStrategy(tensor=8)
    kept = training_bytes(setting, RoleStrategy(train=layout))["activations"]
    again = training_bytes(setting, RoleStrategy(train=layout, recompute="full"))["activations"]
    inputs = 2048 * 32 * 2 * setting.model.hidden
    assert again == inputs + kept // 32


def test_a_scalar_head_needs_no_room_for_logits(setting):
    scalar = replace(setting, head="scalar")
    assert logits_bytes(scalar, 1, 8, backward=True) == 0
    assert logits_bytes(setting, 1, 1, backward=True) == 2048 * 32000 * 10


@given(layouts, st.integers(1, 64), st.sampled_from(["none", "full"]))
def test_memory_never_falls_with_the_micro_batch(setting, layout, micro_batch, recompute):
    smaller = RoleStrategy(train=layout, micro_batch=micro_batch, recompute=recompute)
    larger = smaller.model_copy(update={"micro_batch": micro_batch + 1})
    for peak in (training_bytes, inference_bytes):
        assert sum(peak(setting, smaller).values()) <= sum(peak(setting, larger).values())


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
