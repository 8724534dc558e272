"""What a Chrome trace holds (Trace Event Format, Duvall and others, 2016)."""

from collections.abc import Callable
from typing import Any

import pytest

from planner.domain.plan import Plan
from planner.domain.simulated import Simulation
from planner.domain.text import dump_json
from planner.domain.timeline import Span, Timeline
from planner.reporting.trace import chrome_trace

Build = Callable[[int], Simulation]

SPANS = (
    Span(
        pool="pool-0", role="actor", call="actor.generate", kind="generate", iteration=0, start_s=0, end_s=2
    ),
    Span(pool="pool-1", role="critic", call="critic.values", kind="infer", iteration=0, start_s=2, end_s=2.5),
)
PREDICTED = Timeline(origin="predicted", spans=SPANS)
MEASURED = Timeline(origin="measured", spans=SPANS)

NEEDED = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "M": {"name", "pid", "tid", "args"},
    "C": {"name", "pid", "tid", "ts", "args"},
}
"""Keys of an event beside its phase."""


def events_of(*timelines: Timeline, **beside: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = chrome_trace(timelines, **beside)["traceEvents"]
    return events


def counters(events: list[dict[str, Any]], name: str) -> list[tuple[int, float, dict[str, float]]]:
    """Process, seconds and values of each of a counter's events."""
    return [
        (event["pid"], event["ts"] / 1e6, event["args"])
        for event in events
        if event["ph"] == "C" and event["name"] == name
    ]


@pytest.fixture(scope="module")
def whole(two_pools: Plan, simulated: Build) -> list[dict[str, Any]]:
    simulation = simulated(2)
    return events_of(simulation.timeline, MEASURED, plan=two_pools, generation=simulation.generation)


def test_a_trace_has_each_span_once_in_microseconds_on_its_pools_track() -> None:
    events = events_of(PREDICTED, MEASURED)
    complete = [event for event in events if event["ph"] == "X"]
    assert [(event["name"], event["ts"], event["dur"]) for event in complete[:2]] == [
        ("actor.generate", 0.0, 2e6),
        ("critic.values", 2e6, 5e5),
    ]
    assert len({event["pid"] for event in complete}) == 4
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {"predicted pool-0", "predicted pool-1", "measured pool-0", "measured pool-1"}


def test_every_event_has_the_keys_of_its_phase(whole: list[dict[str, Any]]) -> None:
    for event in whole:
        assert set(event) == NEEDED[event["ph"]] | {"ph"}
        if event["ph"] == "C":
            assert event["args"]
            assert all(isinstance(value, int | float) for value in event["args"].values())
        if "ts" in event:
            assert event["ts"] >= 0


def test_processes_and_tracks_keep_the_order_of_pools_and_roles(whole: list[dict[str, Any]]) -> None:
    order = {
        event["pid"]: event["args"]["sort_index"] for event in whole if event["name"] == "process_sort_index"
    }
    assert order == {process: process for process in range(4)}
    tracks = [
        (event["pid"], event["tid"], event["args"]["sort_index"])
        for event in whole
        if event["name"] == "thread_sort_index"
    ]
    assert tracks[:3] == [(0, 0, 0), (0, 1, 1), (1, 0, 0)]
    named = {(event["pid"], event["tid"]) for event in whole if event["name"] == "thread_name"}
    assert named == {(pid, tid) for pid, tid, _ in tracks}
    assert {(event["pid"], event["tid"]) for event in whole if event["ph"] == "X"} == named


def test_a_generation_counts_from_the_start_of_its_span_and_ends_with_zero(
    whole: list[dict[str, Any]],
) -> None:
    found = counters(whole, "response tokens per second")
    assert [(process, seconds, values["value"]) for process, seconds, values in found] == [
        (0, start + after, value)
        for start in (1.0, 11.0)
        for after, value in ((0.0, 100.0), (1.0, 200.0), (2.0, 100.0), (3.0, 50.0), (4.0, 0.0))
    ]
    assert [values["value"] for _, _, values in counters(whole, "KV cache held, %")][:5] == [
        25,
        50,
        50,
        25,
        0,
    ]
    assert [values["value"] for _, _, values in counters(whole, "running sequences")][:5] == [8, 8, 4, 2, 0]


def test_memory_counts_what_stays_and_what_the_call_at_that_time_takes(whole: list[dict[str, Any]]) -> None:
    found = counters(whole, "memory of each device, GiB")
    actor = {seconds: values for process, seconds, values in found if process == 0}
    stays = {"actor, stays": 20.0, "reference, stays": 10.0}
    nothing = {"weights": 0.0, "KV cache": 0.0, "activations": 0.0, "logits": 0.0}
    assert list(actor) == [0.0, 5.0, 6.0, 7.0, 10.0, 15.0, 16.0, 17.0, 20.0]
    assert actor[0.0] == actor[10.0] == stays | nothing | {"weights": 4.0, "KV cache": 40.0}
    assert actor[5.0] == stays | nothing | {"logits": 2.0}
    assert actor[6.0] == actor[20.0] == stays | nothing
    critic = {seconds: values for process, seconds, values in found if process == 1}
    assert critic[7.0] == {"critic, stays": 5.0, "activations": 3.0, "buffers": 1.0}
    assert {process for process, _, _ in found} == {0, 1}


def test_what_was_measured_has_no_predicted_counters(two_pools: Plan, simulated: Build) -> None:
    events = events_of(MEASURED, plan=two_pools, generation=simulated(1).generation)
    assert not any(event["ph"] == "C" for event in events)


def test_the_same_simulation_is_the_same_trace(two_pools: Plan, simulated: Build) -> None:
    first, second = (
        dump_json(chrome_trace([simulation.timeline], plan=two_pools, generation=simulation.generation))
        for simulation in (simulated(3), simulated(3))
    )
    assert first == second


def test_a_service_has_spans_and_no_memory(two_pools: Plan) -> None:
    call = {"pool": "services", "role": "reward", "call": "reward.scores", "kind": "infer"}
    span = Span.model_validate({**call, "iteration": 0, "start_s": 1.0, "end_s": 2.0})
    events = events_of(Timeline(origin="predicted", spans=(span,)), plan=two_pools)
    assert [event["name"] for event in events if event["ph"] == "X"] == ["reward.scores"]
    assert not counters(events, "memory of each device, GiB")
