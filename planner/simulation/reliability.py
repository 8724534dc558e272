"""What failures cost a job that restarts from its last checkpoint.

Failures come at random, at a rate that does not change (an exponential distribution). Each loses the work
since the last checkpoint that was complete (Daly, "A higher order estimate of the optimum checkpoint interval
for restart dumps", FGCS 22, 2006, section 3).

A checkpoint that is written behind the work is complete only a while after its state, and a failure until
then goes back to the one before. If a part that begins with a complete checkpoint takes a seconds, and p is
the probability of a failure within the delay, others take b = a + p b. With p = 1 - exp(-delay / M), M the
mean time between failures, b = a exp(delay / M): to first order, each failure loses the delay more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import EndlessJobError
from planner.units import HOUR_S

Floats = NDArray[np.float64]

MOST_TIMES = 100
"""A job's expected seconds over its work. Beyond, over 99 % of them are lost, which nobody would pay for, and
the figure means little: it grows exponentially with the rate of failures, which is hardly known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedJob:
    """Expected seconds of a job by what they are spent on."""

    training: float
    checkpoints: float
    lost: float
    """Work that failures undo."""
    restarts: float
    failures: float
    """Their expected number."""

    @property
    def seconds(self) -> float:
        return self.training + self.checkpoints + self.lost + self.restarts


def expected_job(
    work_s: float,
    *,
    interval_s: float,
    write_s: float,
    failure_s: float,
    restart_s: float,
    delay_s: float = 0.0,
) -> ExpectedJob:
    """A job of so much work, in parts of ``interval_s`` that each end with a checkpoint.

    Parameters
    ----------
    write_s
        That a checkpoint stops the work for.
    failure_s
        Mean time between failures of the whole job; infinite for none.
    restart_s
        From a failure until the job runs again.
    delay_s
        From the state that a checkpoint keeps until it is complete, while the work goes on or waits.

    Raises
    ------
    EndlessJobError
        The job would take more than `MOST_TIMES` its work.
    """
    parts = work_s / interval_s
    if math.isinf(failure_s):
        return ExpectedJob(training=work_s, checkpoints=parts * write_s, lost=0.0, restarts=0.0, failures=0.0)
    seconds = float(_seconds(np.array(interval_s), work_s, np.array(write_s), failure_s, restart_s, delay_s))
    if not seconds <= MOST_TIMES * work_s:
        raise EndlessJobError(
            f"job.failures: one comes every {_words(failure_s)}, on average, and the job would take over "
            f"{MOST_TIMES} times its work of {_words(work_s)}; "
            + _largest(work_s, interval_s, max(write_s, delay_s), restart_s)
        )
    failures = seconds / failure_s
    restarts = -seconds * math.expm1(-restart_s / failure_s)
    return ExpectedJob(
        training=work_s,
        checkpoints=parts * write_s,
        lost=max(0.0, seconds - restarts - work_s - parts * write_s),
        restarts=restarts,
        failures=failures,
    )


def best_interval(
    work_s: float,
    iteration_s: float,
    *,
    write_s: Callable[[Floats], Floats],
    failure_s: float,
    restart_s: float,
    delay_s: float = 0.0,
) -> int:
    """Iterations between checkpoints with which a job is done soonest.

    Parameters
    ----------
    write_s
        That a checkpoint stops the work for, by the seconds between two of them.
    """
    most = max(1, round(work_s / iteration_s))
    counts = np.unique(np.geomspace(1, most, 2000).round())
    intervals: Floats = counts * iteration_s
    seconds = _seconds(intervals, work_s, write_s(intervals), failure_s, restart_s, delay_s)
    return int(counts[int(np.argmin(seconds))])


def _seconds(
    interval_s: Floats,
    work_s: float,
    write_s: Floats,
    failure_s: float,
    restart_s: float,
    delay_s: float,
) -> Floats:
    """Expected seconds, restarts that fail themselves included (Daly, section 3); not finite if too many."""
    parts = work_s / interval_s
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.exp(restart_s / failure_s) * failure_s * np.expm1((interval_s + write_s) / failure_s)
        found: Floats = first * (1 + (parts - 1) * np.exp(delay_s / failure_s))
    return found


def _largest(work_s: float, interval_s: float, write_s: float, restart_s: float) -> str:
    """What failures mostly meet, and what to change about it."""
    largest = max(interval_s, write_s, restart_s)
    if largest == restart_s:
        return f"a restart takes {_words(restart_s)}: restart faster (job.failures.restart)"
    if largest == write_s:
        return f"a checkpoint takes {_words(write_s)}: write faster (job.checkpoints.bandwidth) or less often"
    if interval_s >= work_s:
        return "no checkpoint is written before its end: add job.checkpoints (or lower job.checkpoints.every)"
    return (
        f"a checkpoint comes every {_words(interval_s)}: write them more often (job.checkpoints.every), or "
        "take fewer devices where every iteration has one"
    )


def _words(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < HOUR_S else f"{seconds / HOUR_S:.3g} h"
