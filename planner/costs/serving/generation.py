"""Seconds of generation in closed form: prompts, then responses in waves under a limit of sequences.

The one description of an engine's step is `planner.costs.serving.engine_step`; this file integrates it.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from planner.costs.memory.rounding import Numbers, ceil_div
from planner.costs.same import Same
from planner.costs.serving.cache import sequences_held
from planner.costs.serving.engine_step import Engine
from planner.costs.serving.step_table import Floats, StepTable, step_table
from planner.costs.serving.waits import longest_excess
from planner.costs.setting import Setting
from planner.domain.cluster import NodePool
from planner.domain.lengths import TokenLengths
from planner.domain.model import ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy
from planner.domain.stack import GenerationStack
from planner.domain.workload import Workload

_MIDPOINTS: Floats = (np.arange(24) + 0.5) / 24
"""Of the last wave's decline, in parts of the longest response."""


def generation_seconds(setting: Setting, generate: GenerationStrategy) -> float:
    """All responses, until the last replica is done, without the weight sync.

    Depends on nothing of the training layout.
    """
    table = step_table(engine_of(setting), generate)
    return float(
        replica_seconds(
            setting,
            table,
            replicas=generate.replicas,
            max_sequences=generate.max_sequences,
            cache_tokens=generate.cache_tokens or 0,
        )
    )


def replica_seconds(
    setting: Setting, table: StepTable, *, replicas: Numbers, max_sequences: Numbers, cache_tokens: Numbers
) -> Numbers:
    """The same of replicas of one p_g and t_g, or of several that share a table, as shape (replicas, 1).

    Prompts count their mean length, and for attention their mean square; the samples of one prompt share its
    prefill (Kwon et al. 2309.06180, section 4.4).

    Parameters
    ----------
    cache_tokens
        Tokens that the cache holds; 0 for all sequences at their greatest length.
    """
    workload = setting.workload
    sequences = ceil_div(workload.samples, replicas)
    busy = ceil_div(workload.samples, sequences)
    prompts = ceil_div(sequences, workload.samples_per_prompt)
    held = sequences_held(workload, cache_tokens)
    at_once = np.where(np.asarray(cache_tokens) > 0, np.minimum(max_sequences, held), max_sequences)
    turns, lengths = workload.turns, workload.prompt_tokens
    read = _prompts_seconds(setting, table, prompts, lengths)
    uneven = lengths.variance / lengths.mean**2 * read**2 / prompts
    if turns and turns.answers * turns.tokens:
        answer = TokenLengths(mean=turns.tokens, maximum=turns.tokens)
        read = read + _prompts_seconds(setting, table, sequences * turns.answers, answer)
    return read + _responses_seconds(setting, table, sequences, at_once, busy, uneven)


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
    table = step_table(engine_of(setting), generate)
    return float(_prompts_seconds(setting, table, prompts, setting.workload.prompt_tokens))


def _prompts_seconds(setting: Setting, table: StepTable, prompts: Numbers, lengths: TokenLengths) -> Numbers:
    """Prompts of mean length, whose attention is that of all: a token of length-biased E[L^2] / E[L]."""
    stack, length = setting.stack.generation, lengths.mean
    if not stack.keeps_cache:
        return 0.0 * np.asarray(prompts)
    at_once = np.minimum(prompts, max(1, int(stack.prefill_tokens // length)))
    chunks = math.ceil(length / stack.prefill_tokens)
    passes = np.ceil(prompts / at_once) * chunks
    chunk = length / chunks
    biased = length if lengths.is_constant else lengths.mean_square / length
    past = (biased - chunk) / 2
    one = table.pass_seconds(0.0, 0.0, prompts=at_once, prompt_tokens=chunk, past_tokens=past)
    return (passes + table.pipeline - 1) * one + passes * stack.step


def decode_seconds(setting: Setting, generate: GenerationStrategy, sequences: int) -> float:
    """Responses of one replica, in waves of at most ``max_sequences``.

    All waves but the last keep their slots full for the mean length, since a finished sequence makes room for
    a waiting one; the last wave drains until the longest of all the iteration's responses is done: its steps
    are weighted with the chance that any response is still running. Exact for equal lengths.

    Where tools answer between turns, a sequence keeps its slot while it waits, so that fewer of the slots
    decode and each wave takes the mean wait longer, the last one as much longer as its longest wait.
    """
    table = step_table(engine_of(setting), generate)
    return float(_responses_seconds(setting, table, sequences, generate.max_sequences))


def _responses_seconds(
    setting: Setting,
    table: StepTable,
    sequences: Numbers,
    max_sequences: Numbers,
    busy: Numbers = 1,
    uneven: Numbers = 0.0,
) -> Numbers:
    """Of the last replica of several to be done.

    That is one with a long response, one with many tokens, or one with long waits. Each lengthens what an
    average replica takes by seconds that are taken as independent, so that their squares add up.

    Parameters
    ----------
    sequences
        Of the fullest replica.
    busy
        Replicas that there would be if each were as full.
    uneven
        Variance of the seconds that a replica reads prompts for.
    """
    slots = np.minimum(max_sequences, sequences)
    waves = np.ceil(sequences / slots)
    last = sequences - (waves - 1) * slots
    workload = setting.workload
    responses, prompt = workload.response_tokens, workload.prompt_tokens.mean + workload.answer_tokens / 2
    waiting = workload.turns.answers * workload.turns.wait if workload.turns else 0.0
    end = _longest(responses, workload.samples)
    survival = responses.survival(end * _MIDPOINTS)
    progress = end * _MIDPOINTS - 0.5
    steady = table.seconds(slots, prompt + mean_progress(responses))
    later: Numbers = 0.0
    if waiting:
        places = np.minimum(slots * busy, workload.samples)
        decoding = responses.mean * steady / (responses.mean * steady + waiting)
        slots, last = np.maximum(1.0, slots * decoding), np.maximum(1.0, last * decoding)
        steady = table.seconds(slots, prompt + mean_progress(responses))
        later = _longest_wait(workload, table, places, last)
    batch = np.maximum(1.0, last * survival)
    draining = table.seconds(batch, prompt + progress)
    full = (waves - 1) * responses.mean * steady
    running = 1 - (1 - survival) ** workload.samples
    whole = full + end * _mean(draining * running, last) + waves * waiting
    if responses.is_constant:
        return whole + np.hypot(later, _largest_of(busy) * np.sqrt(uneven))
    own = 1 - (1 - survival) ** sequences
    longer = end * _mean(draining * (running - own), last)
    more = end / len(_MIDPOINTS) * (table.seconds(batch + 1, prompt + progress) - draining)
    before = (waves - 1) * slots * responses.variance * (steady / slots) ** 2
    busier = _largest_of(busy) * np.sqrt(uneven + before + last * _variance(more, survival))
    spread = np.hypot(longer, busier)
    if not waiting:
        return whole - longer + spread
    even = responses.mean * table.seconds(last, prompt + mean_progress(responses))
    tail = np.maximum(longer, end * _mean(draining * running, last) - even)
    return whole - tail + np.hypot(tail - longer + spread, later)


def _longest_wait(workload: Workload, table: StepTable, places: Numbers, batch: Numbers) -> Numbers:
    """Seconds beyond the mean wait until the last of so many sequences is done, with ``batch`` decoding.

    The more it waits, the more of the others are done when it goes on: where that exceeds their decoding by
    far, it decodes the half of its tokens that comes after it alone.
    """
    assert workload.turns, "sequences wait between turns"
    longer = workload.turns.wait * longest_excess(workload.turns.answers, places)
    responses = workload.response_tokens
    context = workload.prompt_tokens.mean + workload.answer_tokens / 2 + mean_progress(responses)
    together = responses.mean * table.seconds(batch, context)
    alone = responses.mean * table.seconds(np.ones_like(batch), context)
    return longer - (together - alone) / 2 * longer / (longer + together)


def _mean(seconds: Numbers, of: Numbers) -> Numbers:
    """Over the points of a wave's decline, for each row of ``of``."""
    return np.mean(seconds, axis=-1, keepdims=np.ndim(of) > 0)


def _variance(more: Numbers, survival: Floats) -> Numbers:
    """Of the seconds that a response adds to its wave: those ``more`` at each point that it reaches."""
    keep = np.ndim(more) > 1
    mean = np.sum(more * survival, axis=-1, keepdims=keep)
    reached = np.cumsum(more, axis=-1) - more / 2
    return np.maximum(0.0, 2 * np.sum(reached * more * survival, axis=-1, keepdims=keep) - mean**2)


def _largest_of(count: Numbers) -> Numbers:
    """Expected largest of so many standard normal numbers (Blom, "Statistical Estimates", 1958)."""
    shares = (np.asarray(count, dtype=np.float64) - 0.375) / (np.asarray(count) + 0.25)
    kinds, of = np.unique(shares, return_inverse=True)
    found = np.array([NormalDist().inv_cdf(float(share)) for share in kinds])
    return found[of].reshape(np.shape(count))[()]


def engine_of(setting: Setting) -> Engine:
    """The engine that generates for a role."""
    return _engine(
        Same(setting.model), setting.precision, Same(setting.node_pool), Same(setting.stack.generation)
    )


@lru_cache(maxsize=256)
def _engine(
    model: Same[ModelSpec], precision: Precision, node_pool: Same[NodePool], stack: Same[GenerationStack]
) -> Engine:
    """One for all settings of these very parts, which so share its tables."""
    return Engine(model=model.value, precision=precision, node_pool=node_pool.value, stack=stack.value)


def mean_progress(responses: TokenLengths) -> float:
    """Response tokens behind a running sequence, on average: E[L (L - 1)] / 2 E[L]."""
    return responses.mean_square / responses.mean / 2 - 0.5


def _longest(responses: TokenLengths, samples: int) -> float:
    """What the longest of that many responses stays below in 99 of 100 iterations."""
    return float(responses.quantile(np.array(1 - 0.01 / samples)))
