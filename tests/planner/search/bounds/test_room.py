"""What a role takes at least in so many bytes."""

import numpy as np

from planner.search.bounds.floors import NEVER, Floors
from planner.search.bounds.room import Room
from tests.planner.search.by_hand import problem_of, takes

CALLS = [("A", 0), ("A", 1)]
OPTIONS = {
    "A": {
        1: [takes(5, 5, persistent=10), takes(1, 9, persistent=20, transient=10)],
        3: [takes(2, 2, persistent=40), takes(3, 1, persistent=10, transient=30)],
    }
}


def within(slot: int, left: int) -> list[int]:
    room = Room.of(Floors.of(problem_of(CALLS, OPTIONS)), "A")
    return room.within(np.array([slot]), np.array([left]))[0].tolist()


def test_only_options_that_fit_count_each_with_its_least() -> None:
    assert within(0, 10) == within(0, 29) == [5, 5]
    assert within(0, 30) == within(0, 99) == [1, 5]
    assert within(1, 40) == [2, 1]


def test_where_nothing_fits_it_never_ends() -> None:
    assert within(0, 9) == within(1, 39) == within(0, -1) == within(1, -(10**6)) == [NEVER, NEVER]


def test_persistent_bytes_are_the_least_of_the_slot() -> None:
    room = Room.of(Floors.of(problem_of(CALLS, OPTIONS)), "A")
    assert room.least_persistent.tolist() == [10, 10]
