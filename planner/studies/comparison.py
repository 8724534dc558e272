"""A plan's prediction beside what a run of it measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from planner.domain.plan import Plan
from planner.domain.timeline import Timeline
from planner.studies.planning import timeline as timeline_of_plan

WARM_UP_ITERATIONS = 1
"""Left out by default: the first iteration of a run pays for what is allocated once."""
TOTAL = "total"
"""The name of the whole iteration among the calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Seconds by call of an iteration; the whole of it is called ``total``."""

    predicted: Mapping[str, float]
    measured: Mapping[str, float]
    """Medians over the iterations."""


def compare(plan: Plan, timeline: Timeline, *, skip: int = WARM_UP_ITERATIONS) -> Comparison:
    """The plan's simulated iteration against a measured timeline.

    Parameters
    ----------
    timeline
        Of a run, such as `planner.domain.reading.read_timeline` reads from its directory.
    skip
        Iterations at the beginning that do not count, unless there are no others.
    """
    return Comparison(
        predicted=_median_seconds(timeline_of_plan(plan)), measured=_median_seconds(timeline, skip=skip)
    )


def _median_seconds(timeline: Timeline, *, skip: int = 0) -> dict[str, float]:
    """Median busy seconds of each call over the iterations, the first ``skip`` left out; and ``total``."""
    iterations = timeline.iterations[skip:] or timeline.iterations
    each = [timeline.seconds_by_call(iteration) for iteration in iterations]
    calls = dict.fromkeys(call for seconds in each for call in seconds)
    medians = {call: median(seconds.get(call, 0.0) for seconds in each) for call in calls}
    return medians | {TOTAL: median(map(timeline.iteration_seconds, iterations))}
