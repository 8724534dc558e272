import pytest

from planner.domain.timeline import Span, Timeline


def span(call: str, start: float, end: float, iteration: int = 0) -> Span:
    return Span(
        pool="pool-0",
        role=call.split(".")[0],
        call=call,
        kind="infer",
        iteration=iteration,
        start_s=start,
        end_s=end,
    )


def test_an_iteration_starts_at_zero_and_keeps_its_gaps() -> None:
    timeline = Timeline(
        origin="measured", spans=(span("a.x", 1, 2), span("a.x", 5, 6, 1), span("b.y", 8, 9, 1))
    )
    second = timeline.of_iteration(1)
    assert [(item.start_s, item.end_s) for item in second.spans] == [(0, 1), (3, 4)]
    assert timeline.iteration_seconds(1) == 4
    assert timeline.seconds_by_call(1) == {"a.x": 1, "b.y": 1}


def test_a_timeline_survives_its_file() -> None:
    timeline = Timeline(origin="predicted", spans=(span("a.x", 0.1, 0.3),))
    assert Timeline.model_validate_json(timeline.model_dump_json()) == timeline
    assert timeline.spans[0].seconds == pytest.approx(0.2)
