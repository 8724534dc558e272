import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.simulation.reliability import best_interval, course

DAY_S = 86400.0


def played(work_s, *, interval_s, write_s, failure_s, restart_s, seed):
    """One job with failures drawn at random, second by second of its parts."""
    draw, clock, failures = np.random.default_rng(seed), 0.0, 0
    for _ in range(round(work_s / interval_s)):
        left = interval_s + write_s
        while (until := draw.exponential(failure_s)) < left:
            clock, failures = clock + until, failures + 1
            while (until := draw.exponential(failure_s)) < restart_s:
                clock, failures = clock + until, failures + 1
            clock += restart_s
        clock += left
    return clock, failures


def test_a_job_without_failures_is_its_work_and_its_checkpoints():
    found = course(1000.0, interval_s=100.0, write_s=5.0, failure_s=math.inf, restart_s=600.0)
    assert (found.seconds, found.checkpoints, found.lost, found.failures) == (1050.0, 50.0, 0.0, 0.0)


def test_expected_seconds_and_failures_are_those_of_jobs_drawn_at_random():
    asked = {"interval_s": 1000.0, "write_s": 50.0, "failure_s": 4000.0, "restart_s": 500.0}
    jobs = [played(20000.0, **asked, seed=seed) for seed in range(3000)]
    found = course(20000.0, **asked)
    assert found.seconds == pytest.approx(np.mean([clock for clock, _ in jobs]), rel=0.02)
    assert found.failures == pytest.approx(np.mean([failures for _, failures in jobs]), rel=0.03)


@given(
    work_s=st.floats(1e3, 1e7),
    parts=st.integers(1, 1000),
    write_s=st.floats(0, 1e3),
    failure_s=st.floats(1e5, 1e8),
    restart_s=st.floats(0, 1e4),
)
def test_parts_are_never_negative_and_more_failures_take_longer(work_s, parts, write_s, failure_s, restart_s):
    asked = {"interval_s": min(work_s / parts, 1e6), "write_s": write_s, "restart_s": restart_s}
    often = course(work_s, **asked, failure_s=failure_s)
    rarely = course(work_s, **asked, failure_s=10 * failure_s)
    assert min(often.training, often.checkpoints, often.lost, often.restarts) >= 0
    assert often.seconds >= rarely.seconds * (1 - 1e-9)
    assert often.seconds >= work_s


def test_the_best_interval_loses_no_more_than_its_neighbours_and_is_near_youngs():
    """sqrt(2 write M): Young, "A first order approximation to the optimum checkpoint interval", 1974."""
    write_s, failure_s = 60.0, DAY_S
    asked = {"failure_s": failure_s, "restart_s": 300.0}
    best = best_interval(30 * DAY_S, 100.0, write_s=lambda seconds: write_s + 0 * seconds, **asked)
    assert 100.0 * best == pytest.approx(math.sqrt(2 * write_s * failure_s), rel=0.1)

    def seconds(count):
        return course(30 * DAY_S, interval_s=100.0 * count, write_s=write_s, **asked).seconds

    assert seconds(best) <= min(seconds(0.9 * best), seconds(1.1 * best))


def test_a_job_that_fails_before_every_checkpoint_is_refused():
    with pytest.raises(SpecError, match="would never be done; write checkpoints more often or to "):
        course(1e6, interval_s=1e5, write_s=0.0, failure_s=1e3, restart_s=60.0)
