"""What overlaps, from spans that a person can draw."""

from benchmarks.overlap import after_generation, figures, makespan, periods_of, serial_sum
from planner.domain.timeline import Span


def span(pool: str, call: str, start_s: float, end_s: float, kind: str = "train") -> Span:
    return Span(
        pool=pool,
        role=call.split(".")[0],
        call=call,
        kind=kind,
        iteration=0,
        start_s=start_s,
        end_s=end_s,
    )


GENERATION = span("pool-0", "actor.generate", 0.0, 5.0, "generate")
TOGETHER = [span("pool-0", "actor.update", 5.0, 8.0), span("pool-1", "critic.update", 5.0, 7.0)]
ALONE = [span("pool-0", "actor.update", 5.0, 8.0), span("pool-1", "critic.update", 8.0, 10.0)]


def test_generation_is_not_counted():
    assert after_generation([GENERATION, *TOGETHER]) == TOGETHER


def test_calls_side_by_side_last_as_long_as_the_longer_one():
    assert makespan(TOGETHER) == 3.0
    assert serial_sum(TOGETHER) == makespan(ALONE) == 5.0


def test_the_ratio_is_of_the_makespan_together_to_the_sum_alone():
    found = figures([TOGETHER] * 3, [ALONE] * 3)
    assert (found["makespan_seconds"], found["serial_seconds"], found["ratio"]) == (3.0, 5.0, 0.6)
    assert found["calls"]["critic.update"] == {"pool": "pool-1", "alone": 2.0, "together": 2.0}


def test_a_period_is_from_one_update_to_the_next():
    later = [
        span("pool-0", "actor.update", 9.0, 12.5),
        span("pool-1", "actor.generate", 8.0, 20.0, "generate"),
    ]
    assert periods_of([TOGETHER, later]) == [4.5]
