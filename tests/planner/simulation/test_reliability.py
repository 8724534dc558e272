import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import EndlessJobError
from planner.simulation.reliability import MOST_TIMES, best_interval, expected_job

DAY_S = 86400.0


def played(work_s, *, interval_s, write_s, failure_s, restart_s, delay_s=0.0, seed):
    """One job with failures drawn at random: (seconds of it, lost ones, those of restarts, failures).

    Until ``delay_s`` after the end of a part a failure goes back to its start.
    """
    draw, clock, lost, restarts, failures = np.random.default_rng(seed), 0.0, 0.0, 0.0, 0
    whole, part, is_complete = interval_s + write_s, 0, True
    while part < round(work_s / interval_s):
        if (until := draw.exponential(failure_s)) >= whole:
            clock, part, is_complete = clock + whole, part + 1, False
            continue
        clock, lost, failures = clock + until, lost + until, failures + 1
        if not is_complete and until < delay_s:
            part, lost = part - 1, lost + whole
        is_complete, begun = True, clock
        while (until := draw.exponential(failure_s)) < restart_s:
            clock, failures = clock + until, failures + 1
        clock += restart_s
        restarts += clock - begun
    return clock, lost, restarts, failures


def test_a_job_without_failures_is_its_work_and_its_checkpoints():
    found = expected_job(1000.0, interval_s=100.0, write_s=5.0, failure_s=math.inf, restart_s=600.0)
    assert (found.seconds, found.checkpoints, found.lost, found.failures) == (1050.0, 50.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("write_s", "delay_s"),
    [(50.0, 0.0), (0.0, 600.0), (0.0, 1000.0), (500.0, 1500.0)],
    ids=["waited for", "behind", "as long as a part", "longer than the work of a part"],
)
def test_what_is_expected_is_the_mean_of_jobs_drawn_at_random(write_s, delay_s):
    """Of each: seconds, lost ones, those of restarts, failures."""
    asked = {"interval_s": 1000.0, "write_s": write_s, "failure_s": 4000.0, "restart_s": 500.0}
    jobs = [played(20000.0, **asked, delay_s=delay_s, seed=seed) for seed in range(3000)]
    found = expected_job(20000.0, **asked, delay_s=delay_s)
    of = (found.seconds, found.lost, found.restarts, found.failures)
    assert of == pytest.approx(np.mean(jobs, axis=0), rel=0.03)


def test_each_failure_loses_what_it_takes_to_write_a_checkpoint_more_where_failures_are_rare():
    asked = {"interval_s": 1000.0, "write_s": 0.0, "failure_s": 1e6, "restart_s": 500.0}
    plain, behind = (expected_job(1e6, **asked, delay_s=delay_s) for delay_s in (0.0, 400.0))
    assert behind.lost - plain.lost == pytest.approx(400.0 * plain.failures, rel=0.01)


@given(
    work_s=st.floats(1e3, 1e7),
    parts=st.integers(1, 1000),
    write_s=st.floats(0, 1e3),
    failure_s=st.floats(1e5, 1e8),
    restart_s=st.floats(0, 1e4),
    delay_s=st.floats(0, 1e4),
)
def test_parts_are_never_negative_and_more_failures_take_longer(
    work_s, parts, write_s, failure_s, restart_s, delay_s
):
    interval_s = max(1e3, min(work_s / parts, 1e5))
    asked = {"interval_s": interval_s, "write_s": write_s, "restart_s": restart_s, "delay_s": delay_s}
    often = expected_job(work_s, **asked, failure_s=failure_s)
    rarely = expected_job(work_s, **asked, failure_s=10 * failure_s)
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
        return expected_job(30 * DAY_S, interval_s=100.0 * count, write_s=write_s, **asked).seconds

    assert seconds(best) <= min(seconds(0.9 * best), seconds(1.1 * best))


@given(whole_s=st.floats(1.0, 5e3), failure_s=st.floats(2e4, 1e7), is_behind=st.booleans())
def test_no_interval_is_better_than_the_best(whole_s, failure_s, is_behind):
    asked = {"failure_s": failure_s, "restart_s": 300.0, "delay_s": whole_s if is_behind else 0.0}

    def write_s(seconds):
        return np.maximum(0.0, whole_s - is_behind * seconds)

    def seconds(count):
        each = {"interval_s": 100.0 * count, "write_s": float(write_s(100.0 * count))}
        return expected_job(1e5, **each, **asked).seconds

    best = best_interval(1e5, 100.0, write_s=write_s, **asked)
    assert seconds(best) <= min(map(seconds, (1000, 500, 200, 100, 50, 20, 10))) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interval_s": 1e5}, r"a checkpoint comes every 27\.8 h: write them more often"),
        ({"interval_s": 1e6}, r"no checkpoint is written before its end: add job\.checkpoints"),
        ({"write_s": 1e4}, r"a checkpoint takes 2\.78 h: write faster \(job\.checkpoints\.bandwidth"),
        ({"delay_s": 1e4}, r"a checkpoint takes 2\.78 h: write faster \(job\.checkpoints\.bandwidth"),
        ({"restart_s": 1e4}, r"a restart takes 2\.78 h: restart faster \(job\.failures\.restart"),
        ({"restart_s": 1e7}, r"a restart takes 2\.78e\+03 h: restart faster"),
    ],
)
def test_a_job_that_would_hardly_ever_be_done_is_refused_with_what_keeps_it(changes, said):
    asked = {"interval_s": 500.0, "write_s": 0.0, "failure_s": 1e3, "restart_s": 60.0}
    assert expected_job(1e6, **asked).seconds < 2e6
    with pytest.raises(EndlessJobError, match=rf"one comes every 1e\+03 s.*over 100 times.* 278 h; {said}"):
        expected_job(1e6, **asked | changes)


def test_the_limit_is_a_hundred_times_the_work():
    """Of a part as long as the work, exp(x) - 1 = 100 x at x = 6.47."""
    asked = {"interval_s": 1e4, "write_s": 0.0, "restart_s": 0.0}
    assert MOST_TIMES == 100
    assert expected_job(1e4, **asked, failure_s=1e4 / 6.4).seconds > 90 * 1e4
    with pytest.raises(EndlessJobError):
        expected_job(1e4, **asked, failure_s=1e4 / 6.5)
