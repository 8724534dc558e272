"""What roles outside a pool take at least, all calls together."""

from planner.search.bounds.busy import Busy
from planner.search.bounds.floors import NEVER, Floors
from tests.planner.search.by_hand import problem_of, takes

CALLS = [("A", 0), ("B", 0), ("B", 1), ("C", 1)]
OPTIONS = {
    "A": {1: [takes(9)], 2: [takes(5), takes(6)]},
    "B": {1: [takes(4, 4), takes(1, 6)], 2: [takes(2, 2)]},
    "C": {1: [takes(3)], 3: [takes(1)]},
}
A, B, C = 1, 2, 4


def test_each_role_outside_is_alone_on_what_the_pool_leaves() -> None:
    busy = Busy.of(Floors.of(problem_of(CALLS, OPTIONS, devices=4)))
    # Beside A on 1 of 4 devices B takes 4 on 2 of those left, and C 1 on all 3; beside A on 2, B 4 and C 3.
    assert busy.outside_us(A, 4)[:2].tolist() == [5, 7]
    # Of 3 devices in all, A on 1 leaves 2, where C takes 3.
    assert busy.outside_us(A, 3)[0] == 4 + 3


def test_what_leaves_a_role_no_device_is_never() -> None:
    busy = Busy.of(Floors.of(problem_of(CALLS, OPTIONS, devices=4)))
    assert busy.outside_us(A, 2)[1] == NEVER
    assert busy.outside_us(A | B | C, 2)[1] == 0
