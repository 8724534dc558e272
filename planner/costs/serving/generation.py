"""Seconds of generation in closed form: prompts, then responses in waves under a limit of sequences.

The one description of an engine's step is `planner.costs.serving.engine_step`; this file integrates it.
"""

import math
from functools import lru_cache

import numpy as np

from planner.costs.serving.engine_step import Engine
from planner.costs.serving.step_table import Floats, StepTable, step_table
from planner.costs.setting import Setting
from planner.domain.parallelism import GenerationStrategy

_MIDPOINTS: Floats = (np.arange(24) + 0.5) / 24
"""Of the last wave's decline, in parts of the longest response."""


def generation_seconds(setting: Setting, generate: GenerationStrategy) -> float:
    """All responses on the fullest replica, without the weight sync.

    Depends on nothing of the training layout. Prompts count their mean length; the samples of one prompt
    share its prefill (Kwon et al. 2309.06180, section 4.4).
    """
    sequences = math.ceil(setting.workload.samples / generate.replicas)
    prompts = math.ceil(sequences / setting.workload.samples_per_prompt)
    return prefill_seconds(setting, generate, prompts) + decode_seconds(setting, generate, sequences)


def step_seconds(
    setting: Setting,
    generate: GenerationStrategy,
    *,
    batch: Floats | float,
    context: Floats | float,
    prompts: Floats | float = 0,
    prompt_tokens: Floats | float = 0,
) -> Floats | float:
    """Seconds of one engine step: a token for each of ``batch`` sequences, ``prompts`` taken in beside them.

    Parameters
    ----------
    context
        Tokens behind each sequence, on average.
    prompt_tokens
        New tokens of each prompt.
    """
    table = step_table(engine_of(setting), generate)
    seconds: Floats | float = table.seconds(batch, context, prompts=prompts, prompt_tokens=prompt_tokens)
    return seconds


def prefill_seconds(setting: Setting, generate: GenerationStrategy, prompts: int) -> float:
    """Prompts of one replica through its stages, in passes of the engine's budget of tokens.

    A prompt beyond the budget is cut into chunks, each of which attends to those before it (Agrawal et al.
    2308.16369, section 4.2). Passes follow each other through the stages (GPipe, 1811.06965, section 2.3).
    """
    return _prefill_seconds(setting, generate.model_copy(update={"max_sequences": 1}), prompts)


@lru_cache(maxsize=65536)
def _prefill_seconds(setting: Setting, generate: GenerationStrategy, prompts: int) -> float:
    table, stack = step_table(engine_of(setting), generate), setting.stack.generation
    length = setting.workload.prompt_tokens.mean
    at_once = min(prompts, max(1, int(stack.prefill_tokens // length)))
    chunks = math.ceil(length / stack.prefill_tokens)
    passes = math.ceil(prompts / at_once) * chunks
    one = _prefill_pass_seconds(table, at_once, length, chunks)
    return (passes + generate.pipeline - 1) * one + passes * stack.step


@lru_cache(maxsize=65536)
def _prefill_pass_seconds(table: StepTable, prompts: int, length: float, chunks: int) -> float:
    """One pass of prompts, or of the mean one of a prompt's chunks, through one stage."""
    chunk = length / chunks
    seconds: float = table.pass_seconds(
        0.0, 0.0, prompts=prompts, prompt_tokens=chunk, past_tokens=(length - chunk) / 2
    )
    return float(seconds)


def decode_seconds(setting: Setting, generate: GenerationStrategy, sequences: int) -> float:
    """Responses of one replica, in waves of at most ``max_sequences``.

    Response lengths are taken as maximum x Beta(1, k) with k = maximum / mean - 1, whose survival function
    is (1 - x / maximum)^k: k = 0 is equal lengths, larger k a longer tail. All waves but the last keep their
    slots full for the mean length, since a finished sequence makes room for a waiting one; the last wave
    drains until the longest of all the iteration's responses is done: its steps are weighted with the chance
    that any response is still running. Exact for equal lengths.
    """
    slots = min(generate.max_sequences, sequences)
    waves = math.ceil(sequences / slots)
    last = sequences - (waves - 1) * slots
    table, workload = step_table(engine_of(setting), generate), setting.workload
    responses, prompt = workload.response_tokens, workload.prompt_tokens.mean
    spread = responses.maximum / responses.mean - 1
    end = _longest(spread, workload.samples)
    survival = (1 - end * _MIDPOINTS) ** spread
    progress = responses.maximum * end * _MIDPOINTS - 0.5
    steady = mean_progress(responses.maximum, spread)
    steps = table.seconds(
        np.append(np.maximum(1.0, last * survival), slots), prompt + np.append(progress, steady)
    )
    full = (waves - 1) * responses.mean * steps[-1]
    drain = responses.maximum * end * np.mean(steps[:-1] * (1 - (1 - survival) ** workload.samples))
    return float(full + drain)


@lru_cache(maxsize=256)
def engine_of(setting: Setting) -> Engine:
    """The engine that generates for a role."""
    return Engine(
        model=setting.model,
        precision=setting.precision,
        node_pool=setting.node_pool,
        stack=setting.stack.generation,
    )


def mean_progress(maximum: int, spread: float) -> float:
    """Response tokens behind a running sequence, on average: E[L (L - 1)] / 2 E[L] = max / (k + 2) - 1/2."""
    return maximum / (spread + 2) - 0.5


def _longest(spread: float, samples: int) -> float:
    """What the longest of that many responses stays below in 99 of 100 iterations, over the maximum."""
    return 1.0 if spread == 0 else 1 - (0.01 / samples) ** (1 / spread)
