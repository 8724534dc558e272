"""From the clocks of the workers to a measured `Timeline`."""

import time
from collections.abc import Sequence

from planner.domain.timeline import Span, Timeline
from runtime.controller import FinishedCall

RESHARD = "reshard"
"""Part of a generation call that becomes a span of its own."""


class Recorder:
    """Collects the spans of a run; seconds count from the start of the run.

    A call lasts on its pool from the first rank's start to the last rank's end. Ranks that run ahead into the
    next call do not make the calls overlap: a span begins where the pool's previous one ended.

    Parameters
    ----------
    earlier
        Timeline of the run that is resumed; this one goes on where it ends.
    """

    def __init__(self, earlier: Timeline | None = None) -> None:
        self._origin_s = time.time() - (earlier.end_s if earlier else 0.0)
        self._spans: list[Span] = list(earlier.spans) if earlier else []
        self._busy_until: dict[str, float] = {}

    def add(self, finished: Sequence[FinishedCall], *, iteration: int) -> list[Span]:
        """The spans of one iteration, which are kept as well."""
        spans: list[Span] = []
        for done in finished:
            for span in self._spans_of(done, iteration, self._busy_until.get(done.call.pool, 0.0)):
                spans.append(span)
                self._busy_until[span.pool] = span.end_s
        spans.sort(key=lambda span: (span.start_s, span.pool))
        self._spans += spans
        return spans

    def timeline(self) -> Timeline:
        """All spans so far."""
        return Timeline(origin="measured", spans=tuple(self._spans))

    def _spans_of(self, done: FinishedCall, iteration: int, not_before: float) -> list[Span]:
        start = max(not_before, min(report.start_s for report in done.reports) - self._origin_s)
        end = max(report.end_s for report in done.reports) - self._origin_s
        if not all(RESHARD in report.parts for report in done.reports):
            return [_span(done, iteration, start, end)]
        synced = max(report.parts[RESHARD][1] for report in done.reports) - self._origin_s
        return [
            _span(done, iteration, start, synced, part=RESHARD),
            _span(done, iteration, synced, end),
        ]


def _span(done: FinishedCall, iteration: int, start_s: float, end_s: float, part: str = "") -> Span:
    call = done.call
    return Span(
        pool=call.pool,
        role=call.role,
        call=f"{call.name}/{part}" if part else call.name,
        kind="reshard" if part == RESHARD else call.kind,
        iteration=iteration,
        start_s=start_s,
        end_s=max(start_s, end_s),
    )
