"""A generation over time: tokens per second, sequences that run, tokens in the cache."""

import numpy as np
from numpy.typing import NDArray

from planner.costs.setting import Setting
from planner.domain.generated import Moment
from planner.domain.parallelism import GenerationStrategy
from planner.simulation.generation.fleet import Outcome

Floats = NDArray[np.float64]


def curve(
    outcome: Outcome, setting: Setting, strategy: GenerationStrategy, factor: float, moments: int
) -> list[Moment]:
    """So many equal parts of a generation, over all replicas.

    Tokens and sequences are means of each part, the cache is that of its middle.

    Parameters
    ----------
    factor
        Of all seconds.
    """
    edges = np.linspace(0, outcome.end_s, moments + 1)
    runs = [(run, part.times) for part in outcome.parts for run in part.replica.runs]
    start = np.array([run.start_s for run, _ in runs])
    end = np.array([run.end_s for run, _ in runs])
    times = np.array([times for _, times in runs], dtype=np.float64)
    tokens, running, before, after = (
        times * np.array([getattr(run, name) for run, _ in runs], dtype=np.float64)
        for name in ("tokens", "running", "before", "held")
    )
    seconds, width = np.maximum(end - start, 1e-12), outcome.end_s / moments
    rates = np.diff(_integral(start, end, tokens / seconds, edges)) / width
    sequences = np.diff(_integral(start, end, running, edges)) / width
    middles = (edges[:-1] + edges[1:]) / 2
    held = _steps(start, end, before, after, middles)
    held = held + _integral(start, end, (after - before) / seconds, middles)
    room = _room(setting, strategy) * strategy.replicas
    return [
        Moment(
            start_s=factor * float(edges[index]),
            end_s=factor * float(edges[index + 1]),
            tokens_per_second=float(rates[index]) / factor,
            running=float(sequences[index]),
            cache_share=float(np.clip(held[index] / room, 0.0, 1.0)),
        )
        for index in range(moments)
    ]


def _integral(start: Floats, end: Floats, rates: Floats, at: Floats) -> Floats:
    """Of all rates together, each from its start to its end, from 0 to each of the times ``at``."""
    times = np.concatenate([[0.0], start, end])
    steps = np.concatenate([[0.0], rates, -rates])
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(steps[order])
    total = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(times))])
    found: Floats = np.interp(at, times, total)
    return found


def _steps(start: Floats, end: Floats, up: Floats, down: Floats, at: Floats) -> Floats:
    """What has come at the starts, less what has gone at the ends, by each of the times ``at``."""
    times, steps = np.concatenate([start, end]), np.concatenate([up, -down])
    order = np.argsort(times, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(steps[order])])
    found: Floats = total[np.searchsorted(times[order], at, side="right")]
    return found


def _room(setting: Setting, strategy: GenerationStrategy) -> int:
    """Tokens that one replica's cache has room for."""
    longest = setting.workload.maximum_tokens
    return strategy.cache_tokens or strategy.max_sequences * longest
