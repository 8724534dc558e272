"""What failures cost a job that restarts from its last checkpoint.

Failures come at random, at a rate that does not change (an exponential distribution). Each loses the work
since the last checkpoint that was complete (Daly, "A higher order estimate of the optimum checkpoint interval
for restart dumps", FGCS 22, 2006, section 3).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.errors import SpecError

Floats = NDArray[np.float64]

_LARGEST_EXPONENT = 50.0
"""Of seconds between checkpoints over the mean time between failures; such a job is never done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
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


def course(work_s: float, *, interval_s: float, write_s: float, failure_s: float, restart_s: float) -> Course:
    """A job of so much work, in parts of ``interval_s`` that each end with a checkpoint.

    Parameters
    ----------
    write_s
        That a checkpoint stops the work for.
    failure_s
        Mean time between failures of the whole job; infinite for none.
    restart_s
        From a failure until the job runs again.

    Raises
    ------
    SpecError
        Failures come so much more often than checkpoints that the job would never be done.
    """
    parts = work_s / interval_s
    if math.isinf(failure_s):
        return Course(training=work_s, checkpoints=parts * write_s, lost=0.0, restarts=0.0, failures=0.0)
    exponent = (interval_s + write_s + restart_s) / failure_s
    if exponent > _LARGEST_EXPONENT:
        raise SpecError(
            f"job.failures: one comes every {failure_s:.3g} s on average, too soon for a restart "
            f"({restart_s:.3g} s), the work to the next checkpoint or the end ({interval_s:.3g} s) and its "
            f"writing ({write_s:.3g} s): the job would never be done; write checkpoints more often or to "
            "faster storage (job.checkpoints), restart faster or count on fewer failures"
        )
    seconds = float(_seconds(np.array(interval_s), work_s, np.array(write_s), failure_s, restart_s))
    failures = seconds / failure_s
    restarts = -seconds * math.expm1(-restart_s / failure_s)
    return Course(
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
) -> int:
    """Iterations between checkpoints with which a job is done soonest.

    Parameters
    ----------
    write_s
        That a checkpoint stops the work for, by the seconds between two of them.
    """
    most = max(1, round(work_s / iteration_s))
    counts = np.unique(np.geomspace(1, most, 2000).round())
    within = counts[(counts * iteration_s + restart_s) / failure_s <= _LARGEST_EXPONENT]
    if not len(within):
        return 1
    intervals: Floats = within * iteration_s
    seconds = _seconds(intervals, work_s, write_s(intervals), failure_s, restart_s)
    return int(within[int(np.argmin(seconds))])


def _seconds(
    interval_s: Floats, work_s: float, write_s: Floats, failure_s: float, restart_s: float
) -> Floats:
    """Expected seconds, restarts that fail themselves included (Daly, section 3)."""
    each = math.exp(restart_s / failure_s) * failure_s * np.expm1((interval_s + write_s) / failure_s)
    found: Floats = work_s / interval_s * each
    return found
