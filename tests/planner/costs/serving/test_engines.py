"""Serving engines that keep no cache, or take their weights otherwise than in micro-DP groups."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.arrays.generation_table import Generations, generation_table
from planner.costs.arrays.sync_table import Syncs, sync_seconds
from planner.costs.arrays.table import Configurations
from planner.costs.memory.generation_memory import generation_bytes
from planner.costs.serving.generation import generation_seconds, step_seconds
from planner.costs.sync.transition import (
    deepspeed_chat_bytes,
    layers_gather_seconds,
    prompt_batches,
    reshard_seconds,
)
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.workload import Workload


def serving(setting, **changes):
    """The setting with another serving engine."""
    engine = setting.stack.generation.model_copy(update=changes)
    return replace(setting, stack=setting.stack.model_copy(update={"generation": engine}))


def of_lengths(setting, tokens):
    """The setting with prompts and responses of so many tokens."""
    work = Workload(prompts=1024, prompt_tokens=tokens, response_tokens=tokens, mini_batches=8)
    return replace(setting, workload=work)


GENERATE = GenerationStrategy(tensor=2, replicas=64, max_sequences=16)


def test_generation_without_a_cache_takes_far_longer(setting):
    anew = serving(setting, keeps_cache=False)
    assert generation_seconds(anew, GENERATE) > 10 * generation_seconds(setting, GENERATE)


def test_without_a_cache_seconds_grow_quadratically_with_the_lengths(setting):
    """Twice the steps over twice the context: matrices four times, attention eight times."""
    short, long = (
        generation_seconds(of_lengths(serving(setting, keeps_cache=False), tokens), GENERATE)
        for tokens in (1024, 2048)
    )
    assert 4 <= long / short < 5
    cached = [generation_seconds(of_lengths(setting, tokens), GENERATE) for tokens in (1024, 2048)]
    assert cached[1] / cached[0] < 3


def test_without_a_cache_no_step_beats_the_device(setting):
    """Every token of every step passes the model: steps x mean context x FLOPs of a token."""
    seconds = generation_seconds(serving(setting, keeps_cache=False), GENERATE)
    tokens = 16 * 1024 * (1024 + 512)
    flops = 2 * setting.model.active_layer_matrix_parameters * setting.model.layers
    assert seconds > tokens * flops / 2 / setting.device.peak["bf16"]


def test_a_step_without_a_cache_takes_in_whole_sequences(setting):
    anew = serving(setting, keeps_cache=False)
    steps = [step_seconds(anew, GENERATE, batch=8.0, context=context) for context in (511.0, 1023.0, 2047.0)]
    assert steps[0] < steps[1] < steps[2]
    assert steps[2] == pytest.approx(2 * steps[1], rel=0.25)


def test_without_a_cache_memory_holds_whole_sequences_at_work(setting):
    kept, anew = (generation_bytes(each, GENERATE) for each in (setting, serving(setting, keeps_cache=False)))
    assert anew["kv_cache"] == 0 < kept["kv_cache"]
    assert anew["activations"] > kept["activations"]


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 16]), st.integers(1, 64), st.booleans())
def test_tables_agree_with_single_engines(setting, tensor, replicas, most, keeps_cache):
    own = serving(setting, keeps_cache=keeps_cache)
    one = GenerationStrategy(tensor=tensor, replicas=replicas, max_sequences=most)
    table = generation_table(own, rows_of([one, one]))
    assert table.seconds[1] == pytest.approx(generation_seconds(own, one), rel=1e-9)
    assert table.weights[0] + table.beside[0] == sum(generation_bytes(own, one).values())


def rows_of(strategies):
    columns = ("pipeline", "tensor", "replicas", "max_sequences")
    sizes = {name: np.array([getattr(each, name) for each in strategies]) for name in columns}
    return Generations(**sizes, cache_tokens=np.zeros(len(strategies), dtype=np.int64))


@pytest.mark.parametrize("devices", [2, 8, 16, 64, 128])
def test_a_gather_of_all_layers_moves_what_table_2_says(setting, devices):
    weights = setting.model.parameters() * setting.element_bytes
    volume = deepspeed_chat_bytes(weights, ParallelStrategy(data=devices))
    assert volume == pytest.approx((devices - 1) / devices * weights)
    inside = devices <= setting.node_pool.devices_per_node
    link = setting.device.link if inside else setting.node_pool.network
    seconds = float(layers_gather_seconds(setting, devices))
    assert volume / link.bandwidth < seconds < 2.5 * volume / link.bandwidth


@pytest.mark.parametrize(("most", "batches"), [(64, 1), (32, 2), (16, 4), (1, 64)])
def test_layers_are_gathered_once_for_each_batch_of_prompts(setting, most, batches):
    own = serving(setting, resharding="everywhere", wake=0.0, tensor_sync=0.0, reload=None)
    train, generate = (
        ParallelStrategy(data=16),
        GenerationStrategy(tensor=1, replicas=16, max_sequences=most),
    )
    assert prompt_batches(own, 16, most) == batches
    once = float(layers_gather_seconds(own, 16))
    assert reshard_seconds(own, train, generate) == pytest.approx(batches * once)


def test_what_generates_with_the_training_weights_reshards_nothing(setting):
    own = serving(setting, resharding="none", wake=0.0, tensor_sync=0.0, reload=None)
    train, generate = (
        ParallelStrategy(tensor=4, data=2),
        GenerationStrategy(tensor=4, replicas=2, max_sequences=8),
    )
    assert reshard_seconds(own, train, generate) == 0.0


@pytest.mark.parametrize("resharding", ["everywhere", "none"])
def test_tables_of_syncs_agree_with_single_ones(setting, resharding):
    own = serving(setting, resharding=resharding)
    pairs = [
        (ParallelStrategy(tensor=tensor, data=16 // tensor), GenerationStrategy(
            tensor=tensor, replicas=16 // tensor, max_sequences=most))
        for tensor in (1, 2, 8) for most in (5, 64, 512)
    ]  # fmt: skip
    layouts = [train for train, _ in pairs]
    ones = np.ones(len(pairs), dtype=np.int64)
    train = Configurations(
        **{name: np.array([getattr(each, name) for each in layouts])
           for name in ("pipeline", "tensor", "data", "virtual", "context", "expert")},
        micro_batch=ones, recompute=0 * ones,
    )  # fmt: skip
    found = sync_seconds(own, Syncs(train=train, generate=rows_of([each for _, each in pairs])))
    assert found == pytest.approx([reshard_seconds(own, *pair) for pair in pairs])
