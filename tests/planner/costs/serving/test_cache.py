from dataclasses import replace

import numpy as np
import pytest

from planner.costs.memory.generation_memory import BLOCK_TOKENS, generation_bytes
from planner.costs.serving.cache import cache_tokens_for, running_tokens, sequences_held
from planner.costs.serving.generation import generation_seconds
from planner.domain.parallelism import GenerationStrategy
from planner.domain.workload import Workload


def work(mean, maximum, *, prompt=512):
    lengths = {"mean": mean, "maximum": maximum}
    return Workload(prompts=256, prompt_tokens=prompt, response_tokens=lengths)


@pytest.fixture
def varied(setting):
    return replace(setting, workload=work(700.0, 4096))


def test_equal_lengths_peak_at_the_longest_sequence():
    mean, variance = running_tokens(work(1024, 1024))
    assert mean == 1536
    assert variance == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("mean", "maximum"), [(700.0, 4096), (1500.0, 2048), (100.0, 8192)])
def test_the_expected_peak_is_that_of_places_refilled_at_once(mean, maximum):
    """Many places drawn at random, from the same moment on."""
    generator, places = np.random.default_rng(0), 4000
    spread = maximum / mean - 1
    lengths = np.maximum(1, np.ceil(maximum * generator.beta(1, spread, (places, 400))))
    ends = np.cumsum(lengths, axis=1)
    held = []
    for time in np.linspace(1, maximum, 60):
        running = (ends < time).sum(axis=1)
        begun = np.where(
            running > 0, np.take_along_axis(ends, np.maximum(running - 1, 0)[:, None], 1)[:, 0], 0
        )
        held.append((time - begun).mean())
    expected, _ = running_tokens(work(mean, maximum))
    assert expected - 512 - BLOCK_TOKENS / 2 == pytest.approx(max(held), rel=0.05)


def test_a_cache_for_many_sequences_is_far_below_their_greatest_lengths():
    varied = work(700.0, 4096)
    few, many = (cache_tokens_for(varied, count) / (count * varied.maximum_tokens) for count in (2, 200))
    assert many < 0.35
    assert many < few


def test_what_is_offered_for_some_sequences_holds_them():
    varied = work(700.0, 4096)
    counts = np.arange(1, 300)
    assert (sequences_held(varied, cache_tokens_for(varied, counts)) >= counts).all()
    assert sequences_held(varied, 1) == 1


def test_an_offered_cache_costs_no_time_and_a_small_one_does(varied):
    whole = GenerationStrategy(tensor=2, replicas=4, max_sequences=64)
    offered = whole.model_copy(update={"cache_tokens": int(cache_tokens_for(varied.workload, 64))})
    small = whole.model_copy(update={"cache_tokens": offered.cache_tokens // 4})
    assert generation_seconds(varied, offered) == generation_seconds(varied, whole)
    assert generation_seconds(varied, small) > generation_seconds(varied, whole)


def test_memory_holds_the_caches_tokens_in_whole_blocks(varied):
    whole = GenerationStrategy(tensor=2, replicas=4, max_sequences=64)
    smaller = whole.model_copy(update={"cache_tokens": 100_001})
    held, less = generation_bytes(varied, whole), generation_bytes(varied, smaller)
    sequence = -(-varied.workload.maximum_tokens // BLOCK_TOKENS) * BLOCK_TOKENS
    token = held["kv_cache"] / (64 * sequence)
    assert less["kv_cache"] == -(-100_001 // BLOCK_TOKENS) * BLOCK_TOKENS * token
    assert {**held, "kv_cache": 0} == {**less, "kv_cache": 0}
