"""What ran when: the one shape in which predictions and measurements are compared."""

from typing import Literal

from planner.domain.quantities import Value

Origin = Literal["predicted", "measured"]


class Span(Value):
    """One busy interval of one pool."""

    pool: str
    role: str
    call: str
    """Name of the model call, or of the part of it that the span covers (``actor.generate/reshard``)."""
    kind: Literal["generate", "infer", "train", "reshard", "numeric", "send", "receive"]
    iteration: int
    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s


class Timeline(Value):
    """Spans of one or more iterations, in order of their start."""

    origin: Origin
    spans: tuple[Span, ...]

    @property
    def end_s(self) -> float:
        return max((span.end_s for span in self.spans), default=0.0)

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(span.pool for span in self.spans))

    @property
    def iterations(self) -> tuple[int, ...]:
        return tuple(sorted({span.iteration for span in self.spans}))

    def of_iteration(self, iteration: int) -> "Timeline":
        """The spans of one iteration, starting at zero."""
        spans = [span for span in self.spans if span.iteration == iteration]
        start = min((span.start_s for span in spans), default=0.0)
        moved = (
            span.model_copy(update={"start_s": span.start_s - start, "end_s": span.end_s - start})
            for span in spans
        )
        return Timeline(origin=self.origin, spans=tuple(moved))

    def seconds_by_call(self, iteration: int) -> dict[str, float]:
        """Busy seconds of each call in one iteration."""
        totals: dict[str, float] = {}
        for span in self.spans:
            if span.iteration == iteration:
                totals[span.call] = totals.get(span.call, 0.0) + span.seconds
        return totals

    def iteration_seconds(self, iteration: int) -> float:
        """From the first start to the last end of one iteration."""
        return self.of_iteration(iteration).end_s
