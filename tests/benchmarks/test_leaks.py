"""Straight lines through memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leaks import WINDOWS, growth, label, shown


@given(st.integers(2**20, 2**32), st.integers(3, 200))
def test_memory_that_stands_does_not_grow(bytes_: int, iterations: int):
    found = growth([bytes_] * iterations)
    assert found.grown == found.grown_at_most == pytest.approx(0.0, abs=1e-12)
    assert found.bytes == pytest.approx(bytes_)


@given(st.floats(0.001, 1.0), st.integers(10, 200))
def test_growth_is_the_share_that_came_on_top_from_first_to_last(share: float, iterations: int):
    values = [1000.0 * (1 + share * step / (iterations - 1)) for step in range(iterations)]
    found = growth(values)
    assert found.grown == pytest.approx(share)
    assert found.grown_at_most >= found.grown


def flat(values: list[int]) -> list[bool]:
    """Over each window."""
    found = shown(values)
    return [found[f"iterations {start} to {stop}"]["is_flat"] for start, stop in WINDOWS]


def test_what_happens_before_the_warm_up_ends_does_not_count():
    (warm, _), (_, end) = WINDOWS
    steady = [500 * 2**20] * (end - warm)
    assert flat([0] * warm + steady) == [True, True]
    leaking = [value + step * 2**20 for step, value in enumerate(steady)]
    assert flat([0] * warm + leaking) == [False, False]


def test_growth_that_ends_is_seen_in_the_first_window_only():
    _, (later, end) = WINDOWS
    assert flat([500 * 2**20 + min(step, later) * 2**20 for step in range(end)]) == [False, True]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/ray/core/src/ray/raylet/raylet", "--port=1"], "raylet"),
        (["ray::Host.call"], "ray::Host"),
        (["/usr/bin/python3.11", "-u", "/ray/dashboard/agent.py", "--x"], "agent.py"),
        ([], "ended"),
    ],
)
def test_processes_are_told_apart_by_what_they_run(command: list[str], name: str):
    assert label(command) == name
