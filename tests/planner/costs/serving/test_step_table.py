from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.serving.engine_step import (
    decode_layer_seconds,
    experts_hit,
    head_seconds,
    linear_seconds,
)
from planner.costs.serving.generation import engine_of
from planner.costs.serving.step_table import step_table
from planner.domain.catalog import read_model
from planner.domain.parallelism import GenerationStrategy

TWO = GenerationStrategy(tensor=2, replicas=8, max_sequences=64)


@pytest.fixture(scope="module")
def engine(setting):
    return engine_of(setting)


def with_stack(engine, **constants):
    return replace(engine, stack=engine.stack.model_copy(update=constants))


def test_a_step_is_its_layers_its_head_and_the_host(engine):
    engine = with_stack(engine, step=1e-3, sequence=1e-5, sustained=1.0)
    layer = linear_seconds(engine, TWO, 64) + decode_layer_seconds(engine, TWO, sequences=64, context=1024)
    whole = 32 * layer + head_seconds(engine, TWO, 64) + 1e-3 + 64e-5
    assert step_table(engine, TWO).seconds(64, 1024) == pytest.approx(whole, rel=0.02)


@given(st.floats(1, 600), st.floats(1, 30000))
def test_between_its_points_the_table_is_near_the_kernels(engine, batch, context):
    engine = with_stack(engine, step=0.0, sequence=0.0, sustained=1.0)
    layer = linear_seconds(engine, TWO, batch) + decode_layer_seconds(
        engine, TWO, sequences=batch, context=context
    )
    whole = 32 * layer + head_seconds(engine, TWO, batch)
    assert step_table(engine, TWO).seconds(batch, context) == pytest.approx(whole, rel=0.2)


def test_arrays_are_what_numbers_are_one_by_one(engine):
    table = step_table(engine, TWO)
    batches, contexts = np.array([1.0, 7.0, 300.0]), np.array([10.0, 2000.0, 5000.0])
    together = table.seconds(batches, contexts, prompts=1, prompt_tokens=500.0)
    alone = [
        table.seconds(batch, context, prompts=1, prompt_tokens=500.0)
        for batch, context in zip(batches, contexts, strict=True)
    ]
    assert together == pytest.approx(alone, rel=1e-12)


def test_replicas_of_one_layout_share_their_table(engine):
    assert step_table(engine, TWO) is step_table(engine, TWO.model_copy(update={"replicas": 3}))


def test_beyond_the_captured_graphs_the_host_launches_each_layer(engine):
    eager = with_stack(engine, graph_sequences=8, layer_launch=1e-2, step=0.0)
    table = step_table(eager, TWO)
    assert table.seconds(8, 100) < 0.1
    assert table.seconds(9, 100) == pytest.approx(0.32, rel=0.01)


def test_prompts_beside_running_sequences_cost_less_than_a_step_of_their_own(engine):
    table = step_table(engine, TWO)
    both = table.seconds(32, 1000, prompts=1, prompt_tokens=256)
    assert both < table.seconds(32, 1000) + table.seconds(0, 0, prompts=1, prompt_tokens=256)


def test_stages_read_their_weights_once_per_part_of_the_batch(engine):
    engine = with_stack(engine, step=0.0, sequence=0.0)
    one = GenerationStrategy(replicas=16, max_sequences=64)
    two = GenerationStrategy(pipeline=2, replicas=8, max_sequences=64)
    assert step_table(engine, two).seconds(2, 100) == pytest.approx(
        step_table(engine, one).seconds(1, 100), rel=0.05
    )


def test_one_token_hits_its_own_experts_and_many_hit_all():
    assert experts_hit(128, 8, 1) == pytest.approx(8)
    assert experts_hit(128, 8, 4096) == pytest.approx(128)


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "deepseek-v3", "opt-13b"])
def test_experts_latents_and_plain_mlps_take_at_least_their_bytes(engine, name):
    other = replace(engine, model=read_model(name))
    table = step_table(other, GenerationStrategy(tensor=4, replicas=4, max_sequences=64))
    moved = 2 * other.model.active_parameters() / 4
    assert table.seconds(1, 1) > moved / engine.device.memory_bandwidth
    assert table.seconds(64, 4096) > table.seconds(64, 1024) > table.seconds(8, 1024)
