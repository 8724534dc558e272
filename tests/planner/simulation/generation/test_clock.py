import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.serving.generation import engine_of
from planner.costs.serving.step_table import step_table
from planner.domain.parallelism import GenerationStrategy
from planner.simulation.generation.clock import StepClock

MODELS = ("llama-2-7b", "qwen3-30b-a3b", "deepseek-v3")
ENGINES = ("vllm", "vllm-0.3.1", "trtllm")
some = settings(max_examples=60)


@pytest.fixture(scope="module")
def clock_of(setting_of):
    """Clocks with their tables, by model, engine, t_g and p_g."""
    found = {}

    def build(model, engine, tensor, pipeline):
        key = (model, engine, tensor, pipeline)
        if key not in found:
            generate = GenerationStrategy(tensor=tensor, pipeline=pipeline, replicas=4, max_sequences=64)
            found[key] = StepClock(step_table(engine_of(setting_of(model, engine)), generate))
        return found[key]

    return build


clocks = {
    "model": st.sampled_from(MODELS),
    "engine": st.sampled_from(ENGINES),
    "tensor": st.sampled_from([1, 8]),
    "pipeline": st.sampled_from([1, 3, 4]),
}
batches = st.integers(1, 9000)
contexts = st.one_of(st.floats(0, 200_000), st.sampled_from([1.0, 64.0, 4096.0, 131072.0]))


@some
@given(batches, contexts, st.fixed_dictionaries(clocks))
def test_a_decode_step_is_the_tables(clock_of, batch, context, of):
    clock = clock_of(**of)
    assert clock.decode(batch, context) == pytest.approx(float(clock.table.seconds(batch, context)), rel=1e-9)


@some
@given(
    st.integers(0, 2000),
    contexts,
    st.integers(1, 40),
    st.floats(2, 8192),
    st.floats(0, 16384),
    st.fixed_dictionaries(clocks),
)
def test_a_step_with_prompts_beside_it_is_the_tables(clock_of, batch, context, prompts, tokens, past, of):
    clock = clock_of(**of)
    expected = clock.table.seconds(batch, context, prompts=prompts, prompt_tokens=tokens, past_tokens=past)
    found = clock.mixed(batch, context, prompts=prompts, tokens=tokens, past=past)
    assert found == pytest.approx(float(expected), rel=0.02)


@some
@given(st.integers(1, 40), st.floats(2, 8192), st.floats(0, 16384), st.fixed_dictionaries(clocks))
def test_a_pass_of_prompts_alone_is_the_tables(clock_of, prompts, tokens, past, of):
    clock = clock_of(**of)
    expected = clock.table.pass_seconds(0.0, 0.0, prompts=prompts, prompt_tokens=tokens, past_tokens=past)
    found = clock.prefill(prompts=prompts, tokens=tokens, past=past)
    assert found == pytest.approx(float(expected), rel=0.02)


@some
@given(st.integers(1, 64), st.sampled_from([64, 256, 2048, 8192]), st.sampled_from([0, 64, 4096]))
def test_on_its_grid_the_attention_of_prompts_is_exact(clock_of, prompts, tokens, past):
    clock = clock_of("llama-2-7b", "vllm", 1, 1)
    expected = clock.table.pass_seconds(0.0, 0.0, prompts=prompts, prompt_tokens=tokens, past_tokens=past)
    assert clock.prefill(prompts=prompts, tokens=tokens, past=past) == pytest.approx(
        float(expected), rel=1e-9
    )


@some
@given(st.integers(1, 2000), st.floats(0, 20_000), st.integers(1, 3000), st.fixed_dictionaries(clocks))
def test_a_run_is_the_sum_of_its_steps(clock_of, batch, context, steps, of):
    clock = clock_of(**of)
    whole = float(np.sum(clock.table.seconds(batch, context + np.arange(steps))))
    assert clock.decode_run(batch, context, steps) == pytest.approx(whole, rel=1e-4)


@some
@given(st.integers(1, 2000), st.floats(0, 20_000), st.integers(1, 3000), st.fixed_dictionaries(clocks))
def test_a_run_between_two_points_of_the_table_is_exact(clock_of, batch, context, steps, of):
    clock = clock_of(**of)
    steps = max(1, min(steps, int(clock.next_kink(context) - context)))
    whole = float(np.sum(clock.table.seconds(batch, context + np.arange(steps))))
    assert clock.decode_run(batch, context, steps) == pytest.approx(whole, rel=1e-5)


def test_kinks_are_the_tables_contexts(clock_of):
    clock = clock_of("llama-2-7b", "vllm", 1, 1)
    assert [clock.next_kink(context) for context in (0, 1, 63.5, 64, 131072)] == [
        1,
        64,
        64,
        128,
        float("inf"),
    ]


def test_steps_are_remembered_without_a_change(clock_of):
    clock = clock_of("llama-2-7b", "vllm", 1, 1)
    fresh = StepClock(clock.table)
    first = (fresh.decode(7, 900), fresh.prefill(prompts=3, tokens=100, past=50))
    again = (fresh.decode(7, 900), fresh.prefill(prompts=3, tokens=100, past=50))
    assert first == again


@pytest.mark.parametrize("context", [0.0, 40.5, 32768.0, 40_000.0, 131_072.0])
def test_steps_of_an_engine_without_a_cache_are_the_tables_at_any_context(setting_of, context):
    """Whole sequences pass the model, so that attention grows with their square."""
    engine = engine_of(setting_of(engine="nemo-aligner"))
    table = step_table(engine, GenerationStrategy(tensor=2, max_sequences=8))
    assert StepClock(table).decode(4, context) == pytest.approx(float(table.seconds(4, context)), rel=0.01)
