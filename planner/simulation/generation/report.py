"""A generation's course as figures: its tail, its tokens over time, what its devices waited for."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.costs.serving.generation import engine_of
from planner.costs.serving.step_table import StepTable, step_table
from planner.costs.setting import Setting
from planner.domain.generated import GenerationReport
from planner.domain.parallelism import GenerationStrategy
from planner.simulation.generation.clock import StepClock
from planner.simulation.generation.curve import curve
from planner.simulation.generation.fleet import Balance, Fleet, Outcome, Part
from planner.simulation.generation.requests import Requests
from planner.simulation.generation.sequences import Limits

Floats = NDArray[np.float64]

SHARES = (50, 90, 99, 100)
"""Percent of the responses whose end the tail tells."""
MOMENTS = 120
"""Equal parts of a generation that its curve has."""


def generate(
    setting: Setting,
    strategy: GenerationStrategy,
    requests: Requests,
    *,
    balance: Balance = "split",
    enough: int | None = None,
) -> Outcome:
    """Play the requests on all replicas of a strategy, or until so many prompts have all their responses."""
    stack = setting.stack.generation
    limits = Limits(
        sequences=strategy.max_sequences,
        cache_tokens=strategy.cache_tokens,
        step_tokens=stack.prefill_tokens,
        chunked=stack.chunked,
    )
    clock = _clock(step_table(engine_of(setting), strategy))
    return Fleet(clock=clock, limits=limits, replicas=strategy.replicas, balance=balance).serve(
        requests, enough=enough
    )


def report(
    call: str,
    outcome: Outcome,
    setting: Setting,
    strategy: GenerationStrategy,
    *,
    iteration: int = 0,
    factor: float = 1.0,
    moments: int = MOMENTS,
) -> GenerationReport:
    """What is to be said of an outcome.

    Parameters
    ----------
    factor
        Of all seconds, where measurements correct the engine's.
    moments
        Parts of the curve; 0 for none.
    """
    parts, end = outcome.parts, outcome.end_s
    ends = np.sort(
        np.concatenate([_repeated([time for time, _ in part.replica.finished], part) for part in parts])
    )
    return GenerationReport(
        call=call,
        iteration=iteration,
        seconds=factor * end,
        responses=len(ends),
        response_tokens=sum(part.times * sum(run.tokens for run in part.replica.runs) for part in parts),
        read_tokens=sum(part.times * part.replica.read_tokens for part in parts),
        tail={f"{share}": factor * float(ends[-(-share * len(ends) // 100) - 1]) for share in SHARES},
        longest_tokens=max(part.replica.longest for part in parts),
        preemptions=sum(part.times * part.replica.preemptions for part in parts),
        waves=max(-(-part.asked // strategy.max_sequences) for part in parts),
        replicas=strategy.replicas,
        max_sequences=strategy.max_sequences,
        carried=len(outcome.left),
        idle_device_seconds={
            cause: factor * seconds * strategy.pipeline * strategy.tensor
            for cause, seconds in _idle_seconds(parts, end, strategy.replicas).items()
        },
        curve=tuple(curve(outcome, setting, strategy, factor, moments)) if moments else (),
    )


def _idle_seconds(parts: Sequence[Part], end: float, replicas: int) -> dict[str, float]:
    """Seconds of whole replicas; those without requests are done from the start."""
    busy = sum(part.times * min(part.replica.time, end) for part in parts)
    return {
        "tail": replicas * end - busy,
        "tools": sum(part.times * part.replica.waited_s for part in parts),
    }


def _repeated(values: Sequence[float], part: Part) -> Floats:
    return np.repeat(np.array(values, dtype=np.float64), part.times)


@lru_cache(maxsize=64)
def _clock(table: StepTable) -> StepClock:
    """One for all iterations, as it remembers steps."""
    return StepClock(table)
