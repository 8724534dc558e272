from pathlib import Path

from planner.domain.timeline import Span, Timeline
from planner.reporting.figures import write_timeline_figure
from planner.reporting.trace import chrome_trace

SPANS = (
    Span(
        pool="pool-0", role="actor", call="actor.generate", kind="generate", iteration=0, start_s=0, end_s=2
    ),
    Span(pool="pool-1", role="critic", call="critic.values", kind="infer", iteration=0, start_s=2, end_s=2.5),
)
PREDICTED = Timeline(origin="predicted", spans=SPANS)
MEASURED = Timeline(origin="measured", spans=SPANS)


def test_a_trace_has_each_span_once_in_microseconds_on_its_pools_track() -> None:
    events = chrome_trace([PREDICTED, MEASURED])["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    assert [(event["name"], event["ts"], event["dur"]) for event in complete[:2]] == [
        ("actor.generate", 0.0, 2e6),
        ("critic.values", 2e6, 5e5),
    ]
    assert len({event["pid"] for event in complete}) == 4
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {"predicted pool-0", "predicted pool-1", "measured pool-0", "measured pool-1"}


def test_a_figure_is_a_picture_of_both_timelines(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "timeline.png"
    write_timeline_figure([PREDICTED, MEASURED], path, title="two")
    assert path.read_bytes().startswith(b"\x89PNG")
