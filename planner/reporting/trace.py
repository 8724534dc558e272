"""Chrome traces, as https://ui.perfetto.dev opens them: a process per timeline and pool, a track per role."""

from collections.abc import Sequence
from typing import Any

from planner.domain.timeline import Timeline
from planner.units import MICROSECOND


def chrome_trace(timelines: Sequence[Timeline]) -> dict[str, Any]:
    """The Trace Event Format's JSON object, times in microseconds."""
    events: list[dict[str, Any]] = []
    process = 0
    for timeline in timelines:
        for pool in timeline.pools:
            events += _pool_events(timeline, pool, process)
            process += 1
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _pool_events(timeline: Timeline, pool: str, process: int) -> list[dict[str, Any]]:
    spans = [span for span in timeline.spans if span.pool == pool]
    tracks = {role: index for index, role in enumerate(dict.fromkeys(span.role for span in spans))}
    name = f"{timeline.origin} {pool}"
    events: list[dict[str, Any]] = [_metadata("process_name", name, process, 0)]
    events += [_metadata("thread_name", role, process, track) for role, track in tracks.items()]
    for span in spans:
        events.append(
            {
                "ph": "X",
                "name": span.call,
                "cat": span.kind,
                "pid": process,
                "tid": tracks[span.role],
                "ts": span.start_s / MICROSECOND,
                "dur": span.seconds / MICROSECOND,
                "args": {"iteration": span.iteration},
            }
        )
    return events


def _metadata(kind: str, name: str, process: int, track: int) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": track, "args": {"name": name}}
