import pytest

from planner.domain.plan import Pool
from planner.errors import PlanMismatchError
from runtime.schedule import PendingCall, Schedule


class Recorded:
    """Enters calls into a schedule and notes the order of their submission."""

    def __init__(self, orders, *, iterations=1, ahead=None):
        pools = [
            Pool(name=name, node_pool="n", devices=1, roles=(), order=tuple(order), ahead=ahead or {})
            for name, order in orders.items()
        ]
        self.schedule = Schedule(pools, iterations=range(iterations))
        self.submitted = []

    def enter(self, name, *, pool, after=(), iteration=0, insert=False):
        call = PendingCall(
            name=name,
            iteration=iteration,
            pool=pool,
            is_ready=lambda: set(after) <= set(self.submitted),
            submit=lambda: self.submitted.append((name, iteration) if iteration else name),
        )
        (self.schedule.insert if insert else self.schedule.enter)(call)


def test_a_call_whose_turn_it_is_is_submitted_at_once():
    recorded = Recorded({"pool-0": ["a", "b"]})
    recorded.enter("a", pool="pool-0")
    assert recorded.submitted == ["a"]


def test_calls_of_one_pool_obey_the_plans_order_not_the_programs():
    recorded = Recorded({"pool-0": ["a", "c", "b"]})
    for name in "abc":
        recorded.enter(name, pool="pool-0")
    assert recorded.submitted == ["a", "c", "b"]
    recorded.schedule.refuse_left_over()


def test_a_call_waits_for_the_submission_of_its_inputs_on_another_pool():
    recorded = Recorded({"pool-0": ["a2", "a1"], "pool-1": ["b"]})
    recorded.enter("a1", pool="pool-0")
    recorded.enter("b", pool="pool-1", after=["a1"])
    assert recorded.submitted == []
    recorded.enter("a2", pool="pool-0")
    assert recorded.submitted == ["a2", "a1", "b"]


def test_calls_without_a_pool_of_the_plan_go_as_they_come():
    recorded = Recorded({})
    recorded.enter("controller.advantages", pool="controller")
    assert recorded.submitted == ["controller.advantages"]


def test_calls_that_are_ahead_run_before_those_of_the_iteration_before():
    recorded = Recorded({"pool-0": ["generate", "receive"]}, iterations=3, ahead={"generate": 1})
    for iteration in range(3):
        recorded.enter("generate", pool="pool-0", iteration=iteration)
        recorded.enter("receive", pool="pool-0", iteration=iteration)
    assert recorded.submitted == [
        "generate",
        ("generate", 1),
        "receive",
        ("generate", 2),
        ("receive", 1),
        ("receive", 2),
    ]
    recorded.schedule.refuse_left_over()


def test_a_call_that_no_plan_names_can_be_put_before_what_a_pool_has_left():
    recorded = Recorded({"pool-0": ["generate", "update"]})
    recorded.enter("generate", pool="pool-0")
    recorded.enter("generate", pool="pool-0", insert=True)
    recorded.enter("update", pool="pool-0")
    assert recorded.submitted == ["generate", "generate", "update"]


def test_an_order_that_waits_for_itself_is_refused():
    recorded = Recorded({"pool-0": ["b", "a"]})
    recorded.enter("a", pool="pool-0")
    recorded.enter("b", pool="pool-0", after=["a"])
    with pytest.raises(PlanMismatchError, match=r"pools\.pool-0\.order: a waits for b"):
        recorded.schedule.refuse_left_over()


def test_an_order_with_a_call_that_the_algorithm_does_not_make_is_refused():
    recorded = Recorded({"pool-0": ["a", "b"]})
    recorded.enter("a", pool="pool-0")
    with pytest.raises(PlanMismatchError, match="makes no call b"):
        recorded.schedule.refuse_left_over()


def test_a_call_that_the_order_does_not_name_is_refused():
    with pytest.raises(PlanMismatchError, match="does not name z"):
        Recorded({"pool-0": ["a"]}).enter("z", pool="pool-0")
