"""From the clocks of the workers to a measured `Timeline`."""

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence

from planner.domain.timeline import Span, Timeline
from runtime.watch import SubmittedCall

RESHARD = "reshard"
"""Part of a generation call that becomes a span of its own."""

_REMEMBERED = 64
"""Calls of a pool among which the neighbours of another are."""


class Recorder:
    """Collects the spans of a run; seconds count from the start of the run.

    A call lasts on its pool from the first rank's start to the last rank's end. Ranks that run ahead into the
    next call do not make the calls overlap: a span begins where the call before it on the pool has ended, and
    ends where the one after it began if that is known already.

    Parameters
    ----------
    earlier
        Timeline of the run that is resumed; this one goes on where it ends.
    """

    def __init__(self, earlier: Timeline | None = None) -> None:
        self._origin_s = time.time() - (earlier.end_s if earlier else 0.0)
        self._spans = _Columns(earlier.spans if earlier else ())
        self._end_s = earlier.end_s if earlier else 0.0
        self._of_pool: dict[str, list[tuple[float, float]]] = {}

    def add(self, finished: Sequence[SubmittedCall], *, iteration: int) -> list[Span]:
        """The spans of one iteration, which are kept as well."""
        spans: list[Span] = []
        for done in finished:
            spans += self._spans_of(done, iteration)
        spans.sort(key=lambda span: (span.start_s, span.pool))
        self._spans.extend(spans)
        self._end_s = max(self._end_s, *(span.end_s for span in spans))
        return spans

    @property
    def end_s(self) -> float:
        """End of the last call so far."""
        return self._end_s

    def spans(self) -> Iterator[Span]:
        """All spans so far."""
        return iter(self._spans)

    def _spans_of(self, done: SubmittedCall, iteration: int) -> list[Span]:
        start, end = self._cut(
            done.pool,
            min(report.start_s for report in done.reports) - self._origin_s,
            max(report.end_s for report in done.reports) - self._origin_s,
        )
        if not all(RESHARD in report.parts for report in done.reports):
            return [_span(done, iteration, start, end)]
        synced = max(report.parts[RESHARD][1] for report in done.reports) - self._origin_s
        return [
            _span(done, iteration, start, synced, part=RESHARD),
            _span(done, iteration, synced, end),
        ]

    def _cut(self, pool: str, start_s: float, end_s: float) -> tuple[float, float]:
        """The interval without what it shares with the calls before and after it on its pool."""
        others = self._of_pool.setdefault(pool, [])
        before = max((end for start, end in others if start <= start_s), default=0.0)
        after = min((start for start, _ in others if start > start_s), default=end_s)
        others.append((start_s, end_s))
        del others[:-_REMEMBERED]
        return max(start_s, before), max(start_s, before, min(end_s, after))


class _Columns:
    """The spans of a run, of which a long one has hundreds of thousands: 32 bytes each."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._kinds: dict[Span, int] = {}
        """Spans without a time, by what they are of."""
        self._numbers, self._iterations, self._seconds = array("q"), array("q"), array("d")
        self.extend(spans)

    def extend(self, spans: Iterable[Span]) -> None:
        for span in spans:
            kind = span.model_copy(update={"iteration": 0, "start_s": 0.0, "end_s": 0.0})
            self._numbers.append(self._kinds.setdefault(kind, len(self._kinds)))
            self._iterations.append(span.iteration)
            self._seconds.extend((span.start_s, span.end_s))

    def __iter__(self) -> Iterator[Span]:
        kinds = list(self._kinds)
        for place, (number, iteration) in enumerate(zip(self._numbers, self._iterations, strict=True)):
            start_s, end_s = self._seconds[2 * place : 2 * place + 2]
            times = {"iteration": iteration, "start_s": start_s, "end_s": end_s}
            yield kinds[number].model_copy(update=times)


def _span(done: SubmittedCall, iteration: int, start_s: float, end_s: float, part: str = "") -> Span:
    return Span(
        pool=done.pool,
        role=done.role,
        call=f"{done.name}/{part}" if part else done.name,
        kind="reshard" if part == RESHARD else done.kind,
        iteration=iteration,
        start_s=start_s,
        end_s=max(start_s, end_s),
    )
