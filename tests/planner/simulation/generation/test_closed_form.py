"""Whole generations against the closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.serving.generation import engine_of, generation_seconds
from planner.costs.serving.step_table import step_table
from tests.planner.simulation.generation.play import layout, seconds, some

GRID = [
    (model, engine, tensor, samples)
    for model, engine, tensor in (
        ("llama-2-7b", "vllm", 1),
        ("llama-2-7b", "vllm-0.3.1-spmd", 2),
        ("llama-2-70b", "vllm-0.3.1", 8),
        ("llama-2-70b", "trtllm", 4),
        ("qwen3-30b-a3b", "sglang", 2),
        ("deepseek-v3", "vllm", 8),
        ("opt-13b", "trtllm", 1),
        ("llama-2-7b", "nemo-aligner", 8),
        ("llama-2-13b", "deepspeed-chat", 4),
    )
    for samples in (1, 16)
]


@pytest.mark.parametrize(("model", "engine", "tensor", "samples"), GRID)
def test_of_one_length_it_is_the_closed_form(setting_of, model, engine, tensor, samples):
    """Where prompts fill their passes, which the closed form rounds up."""
    shapes = [(3, 512, 512), (64, 256, 1024), (96, 2048, 1024), (576, 512, 1024)]
    for prompts, prompt, response in shapes:
        lengths = {"prompt_tokens": prompt, "response_tokens": response}
        setting = setting_of(model, engine, prompts=prompts, samples_per_prompt=samples, **lengths)
        for replicas, slots in ((1, 256), (6, 64), (12, 1024)):
            strategy = layout(tensor=tensor, replicas=replicas, max_sequences=slots)
            expected = generation_seconds(setting, strategy)
            assert seconds(setting, strategy) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("tensor", [1, 2])
def test_waves_of_one_length_are_the_sum_of_their_steps(setting_of, tensor):
    """Which the closed form takes at the middle of each wave but the last: 1.5 % less for these."""
    lengths = {"prompt_tokens": 512, "response_tokens": 2048}
    setting = setting_of(engine="vllm-0.3.1-spmd", prompts=80, samples_per_prompt=16, **lengths)
    strategy = layout(tensor=tensor, replicas=1)
    table = step_table(engine_of(setting), strategy)
    steps = 20 * float(np.sum(table.seconds(64, 512 + np.arange(2048))))
    assert seconds(setting, strategy) == pytest.approx(steps, rel=2e-3)
    assert seconds(setting, strategy) == pytest.approx(generation_seconds(setting, strategy), rel=0.02)


@some
@given(
    st.sampled_from(["vllm", "trtllm", "vllm-0.3.1-spmd"]),
    st.sampled_from([2, 4]),
    st.integers(1, 300),
    st.sampled_from([1, 16]),
    st.sampled_from([1, 6]),
    st.integers(16, 512),
)
def test_with_stages_too_it_is_near_the_closed_form(
    setting_of, engine, pipeline, prompts, samples, replicas, slots
):
    """Which fills the stages once, and not again whenever an engine that cuts no prompts reads some."""
    setting = setting_of(engine=engine, prompts=prompts, samples_per_prompt=samples)
    strategy = layout(pipeline=pipeline, replicas=replicas, max_sequences=slots)
    expected = generation_seconds(setting, strategy)
    assert seconds(setting, strategy) == pytest.approx(expected, rel=0.05)


def test_stages_of_an_engine_that_cuts_no_prompts_fill_again_in_each_wave(setting_of):
    setting = setting_of(engine="vllm-0.3.1-spmd", prompts=256, prompt_tokens=1024, response_tokens=64)
    strategy = layout(pipeline=4, replicas=1, max_sequences=8)
    assert 1.03 < seconds(setting, strategy) / generation_seconds(setting, strategy) < 1.2


@pytest.mark.parametrize(
    ("lengths", "replicas", "slots"),
    [
        ({"mean": 1500, "maximum": 8192}, 32, 64),
        ({"mean": 3000, "maximum": 4096}, 32, 64),
        ({"mean": 3000, "maximum": 4096}, 32, 16),
        ({"mean": 1500, "maximum": 8192, "sigma": 1.0}, 32, 64),
        ({"mean": 1500, "maximum": 8192}, 8, 32),
    ],
)
def test_of_varied_lengths_the_closed_form_is_near_the_mean_of_many_draws(
    setting_of, lengths, replicas, slots
):
    setting = setting_of(prompts=64 * replicas, response_tokens=lengths)
    strategy = layout(replicas=replicas, max_sequences=slots)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(3)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.07)


@pytest.mark.parametrize("lengths", [1000, {"mean": 1000, "maximum": 8192}], ids=["equal", "varied"])
@pytest.mark.parametrize(
    ("count", "wait"), [(2, "10 s"), (5, "10 s"), (5, "60 s"), (10, "60 s"), (20, "30 s"), (5, "0 s")]
)
@pytest.mark.parametrize(("replicas", "sequences", "slots"), [(8, 64, 64), (8, 128, 64)])
def test_with_turns_the_closed_form_is_near_the_mean_of_many_draws(
    setting_of, lengths, count, wait, replicas, sequences, slots
):
    """In one wave and in two: the last response waits for the longest of many waits."""
    turns = {"count": count, "wait": wait, "tokens": 20}
    prompts = replicas * sequences
    setting = setting_of("qwen2.5-7b", prompts=prompts, response_tokens=lengths, turns=turns)
    strategy = layout(replicas=replicas, max_sequences=slots)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(4)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize("responses", [200, {"mean": 200, "maximum": 1000}], ids=["equal", "varied"])
@pytest.mark.parametrize(("replicas", "sequences", "slots"), [(1, 256, 64), (8, 64, 64), (16, 128, 32)])
def test_with_prompts_of_varied_length_it_is_near_the_mean_of_many_draws(
    setting_of, responses, replicas, sequences, slots
):
    """Attention grows with the mean square of the prompts, and one of several replicas has the longest."""
    prompts = {"mean": 8000, "maximum": 30_000}
    setting = setting_of(
        "qwen2.5-7b",
        prompts=replicas * sequences,
        prompt_tokens=prompts,
        response_tokens=responses,
    )
    strategy = layout(replicas=replicas, max_sequences=slots)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(8)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.05)


def test_reading_prompts_of_varied_length_takes_the_seconds_of_each(setting_of):
    """Of one replica and one token each, so that nothing else counts."""
    varied = {"prompts": 512, "response_tokens": 1}
    setting = setting_of(prompt_tokens={"mean": 8000, "maximum": 30_000}, **varied)
    strategy = layout(replicas=1, max_sequences=512)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(8)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.02)
    equal = generation_seconds(setting_of(prompt_tokens=8000, **varied), strategy)
    assert generation_seconds(setting, strategy) > 1.03 * equal
