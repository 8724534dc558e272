"""Chrome traces, as https://ui.perfetto.dev opens them: a process per timeline and pool, a track per role.

Predicted timelines have counters beside them: what each generation does, and what each device holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.domain.generated import GenerationReport
from planner.domain.plan import Plan
from planner.domain.timeline import Span, Timeline
from planner.reporting.occupancy import GROUP_NAMES, holdings, persistent_bytes, placed
from planner.units import GIB, MICROSECOND

Event = dict[str, Any]


def chrome_trace(
    timelines: Sequence[Timeline],
    *,
    plan: Plan | None = None,
    generation: Sequence[GenerationReport] = (),
) -> dict[str, Any]:
    """The Trace Event Format's JSON object, times in microseconds.

    Parameters
    ----------
    plan
        That the predicted timelines are of; what its devices hold becomes counters. Services have none.
    generation
        Of the predicted timelines; its curves become counters from the start of their spans.
    """
    events: list[Event] = []
    process = 0
    for timeline in timelines:
        is_predicted = timeline.origin == "predicted"
        for pool in timeline.pools:
            events += _pool_events(timeline, pool, process)
            if is_predicted:
                events += _generation_counters(timeline, pool, generation, process)
            if is_predicted and plan is not None and any(each.name == pool for each in plan.pools):
                events += _memory_counters(timeline, plan, pool, process)
            process += 1
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _pool_events(timeline: Timeline, pool: str, process: int) -> list[Event]:
    spans = [span for span in timeline.spans if span.pool == pool]
    tracks = {role: index for index, role in enumerate(dict.fromkeys(span.role for span in spans))}
    return [
        _metadata("process_name", process, name=f"{timeline.origin} {pool}"),
        _metadata("process_sort_index", process, sort_index=process),
        *(_metadata("thread_name", process, track, name=role) for role, track in tracks.items()),
        *(_metadata("thread_sort_index", process, track, sort_index=track) for track in tracks.values()),
        *(_complete(span, process, tracks[span.role]) for span in spans),
    ]


def _metadata(kind: str, process: int, track: int = 0, **arguments: str | int) -> Event:
    return {"ph": "M", "name": kind, "pid": process, "tid": track, "args": arguments}


def _complete(span: Span, process: int, track: int) -> Event:
    return {
        "ph": "X",
        "name": span.call,
        "cat": span.kind,
        "pid": process,
        "tid": track,
        "ts": span.start_s / MICROSECOND,
        "dur": span.seconds / MICROSECOND,
        "args": {"iteration": span.iteration},
    }


def _generation_counters(
    timeline: Timeline, pool: str, generation: Sequence[GenerationReport], process: int
) -> Iterator[Event]:
    """Each moment's figures at its start, and zeros at the end of the generation."""
    found = [(report, span) for report, span in placed(timeline, generation) if span.pool == pool]
    for report, span in found:
        for moment in report.curve:
            figures = (moment.tokens_per_second, moment.running, 100 * moment.cache_share)
            yield from _figures(span.start_s + moment.start_s, figures, process)
        if report.curve:
            yield from _figures(span.start_s + report.curve[-1].end_s, (0.0, 0.0, 0.0), process)


def _figures(seconds: float, figures: tuple[float, float, float], process: int) -> Iterator[Event]:
    names = ("response tokens per second", "running sequences", "KV cache held, %")
    for name, value in zip(names, figures, strict=True):
        yield _counter(name, seconds, process, {"value": value})


def _memory_counters(timeline: Timeline, plan: Plan, pool: str, process: int) -> Iterator[Event]:
    """GiB of each device whenever a call starts or ends, by role for what stays and by kind for the rest."""
    calls = holdings(timeline, plan, pool)
    stays = {f"{role}, stays": count for role, count in persistent_bytes(plan, pool).items()}
    groups = [name for name in GROUP_NAMES if any(name in call.bytes_by_group for call in calls)]
    for seconds in sorted({0.0, *(call.start_s for call in calls), *(call.end_s for call in calls)}):
        running = next((call for call in calls if call.start_s <= seconds < call.end_s), None)
        taken = running.bytes_by_group if running else {}
        held = stays | {name: taken.get(name, 0) for name in groups}
        yield _counter("memory of each device, GiB", seconds, process, _in_gib(held))


def _in_gib(held: Mapping[str, int]) -> dict[str, float]:
    return {name: count / GIB for name, count in held.items()}


def _counter(name: str, seconds: float, process: int, values: Mapping[str, float]) -> Event:
    return {
        "ph": "C",
        "name": name,
        "pid": process,
        "tid": 0,
        "ts": seconds / MICROSECOND,
        "args": dict(values),
    }
