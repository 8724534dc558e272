import pytest

from planner.errors import PlanMismatchError
from runtime.batch import Future
from runtime.schedule import PendingCall, Schedule


class Recorded:
    """Enters calls into a schedule and notes the order of their submission."""

    def __init__(self, orders):
        self.schedule = Schedule(orders)
        self.submitted = []

    def enter(self, name, *, pool, inputs=()):
        output = Future()

        def submit():
            self.submitted.append(name)
            output.resolve([])

        self.schedule.enter(PendingCall(name=name, pool=pool, inputs=inputs, submit=submit))
        return output


def test_a_call_whose_turn_it_is_is_submitted_at_once():
    recorded = Recorded({"pool-0": ["a", "b"]})
    assert recorded.enter("a", pool="pool-0").is_submitted
    assert recorded.submitted == ["a"]


def test_calls_of_one_pool_obey_the_plans_order_not_the_programs():
    recorded = Recorded({"pool-0": ["a", "c", "b"]})
    for name in "abc":
        recorded.enter(name, pool="pool-0")
    assert recorded.submitted == ["a", "c", "b"]
    recorded.schedule.finish()


def test_a_call_waits_for_the_submission_of_its_inputs_on_another_pool():
    recorded = Recorded({"pool-0": ["a2", "a1"], "pool-1": ["b"]})
    first = recorded.enter("a1", pool="pool-0")
    recorded.enter("b", pool="pool-1", inputs=[first])
    assert recorded.submitted == []
    recorded.enter("a2", pool="pool-0")
    assert recorded.submitted == ["a2", "a1", "b"]


def test_calls_without_a_pool_of_the_plan_go_as_they_come():
    recorded = Recorded({})
    recorded.enter("controller.advantages", pool="controller")
    assert recorded.submitted == ["controller.advantages"]


def test_repeated_calls_are_named_as_in_the_graph():
    schedule = Schedule({})
    assert [schedule.name("actor", "generate") for _ in range(2)] == ["actor.generate", "actor.generate#2"]


def test_an_order_that_waits_for_itself_is_refused():
    recorded = Recorded({"pool-0": ["b", "a"]})
    first = recorded.enter("a", pool="pool-0")
    recorded.enter("b", pool="pool-0", inputs=[first])
    with pytest.raises(PlanMismatchError, match=r"pools\.pool-0\.order: a waits for b"):
        recorded.schedule.finish()


def test_an_order_with_a_call_that_the_algorithm_does_not_make_is_refused():
    recorded = Recorded({"pool-0": ["a", "b"]})
    recorded.enter("a", pool="pool-0")
    with pytest.raises(PlanMismatchError, match="makes no call b"):
        recorded.schedule.finish()


def test_a_call_that_the_order_does_not_name_is_refused():
    with pytest.raises(PlanMismatchError, match="does not name z"):
        Recorded({"pool-0": ["a"]}).enter("z", pool="pool-0")
