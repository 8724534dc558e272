import tracemalloc
from pathlib import Path

import pytest

from planner.domain.reading import read_timeline, write_timeline
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


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_timeline_survives_its_file(count: int, tmp_path: Path) -> None:
    spans = tuple(span(f"a.{place}", place + 0.1, place + 0.3) for place in range(count))
    write_timeline(tmp_path / "timeline.json", "predicted", iter(spans))
    assert read_timeline(tmp_path / "timeline.json") == Timeline(origin="predicted", spans=spans)


def test_a_long_timeline_is_written_in_little_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    write_timeline(tmp_path / "timeline.json", "measured", (span("a.x", at, at + 1) for at in range(5000)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < (tmp_path / "timeline.json").stat().st_size / 2


def test_a_timeline_that_breaks_off_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    write_timeline(path, "measured", [span("a.x", 0, 1)])
    with pytest.raises(ZeroDivisionError):
        write_timeline(path, "measured", (span("a.x", 0, 1 / (1 - at)) for at in range(3)))
    assert read_timeline(path).spans == (span("a.x", 0, 1),)
    assert list(tmp_path.iterdir()) == [path]
