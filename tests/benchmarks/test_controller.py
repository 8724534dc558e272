"""How the controller's benchmark adds up what it measured."""

import pytest

from benchmarks.controller import bare_seconds, check_same_work, controlled_seconds, figures
from runtime.watch import SubmittedCall
from runtime.workers.call import Report


def finished(name: str, *reports: Report) -> SubmittedCall:
    role, ranks = name.split(".")[0], dict(enumerate(reports))
    return SubmittedCall(pool="pool-0", role=role, name=name, kind="train", ranks=len(ranks), of_ranks=ranks)


def test_an_iteration_of_the_script_lasts_from_its_first_start_to_its_last_end():
    ranks = [
        Report(0.0, 9.0, {"iteration": (1.0, 4.0), "actor.update": (2.0, 3.0)}, {}),
        Report(0.0, 9.0, {"iteration": (1.5, 4.5), "actor.update": (2.5, 3.5)}, {}),
    ]
    assert bare_seconds(ranks) == {"iteration": 3.5, "actor.update": 1.5}


def test_a_call_of_the_controller_lasts_from_its_first_start_to_its_last_end():
    ranks = Report(1.0, 3.0, {}, {}), Report(2.0, 4.0, {}, {})
    assert controlled_seconds([finished("actor.update", *ranks)]) == {"actor.update": 3.0}


def test_overhead_is_what_the_controller_takes_beyond_the_script_in_the_median():
    bare = [{"iteration": seconds, "actor.update": 1.0} for seconds in (2.0, 2.0, 9.0)]
    controlled = [{"iteration": seconds, "actor.update": 1.5} for seconds in (2.2, 2.2, 2.0)]
    found = figures(bare, controlled)
    assert found["seconds"] == {"bare": 2.0, "controlled": 2.2}
    assert found["overhead"] == found["overhead_of_pairs"] == 0.1
    assert found["seconds_between_calls"] == 0.7


def test_different_losses_are_not_the_same_work():
    script = [Report(0.0, 1.0, {}, {"actor/pg_loss": 0.5})]
    check_same_work(script, [finished("actor.update", Report(0.0, 1.0, {}, {"actor/pg_loss": 0.5}))])
    other = finished("actor.update", Report(0.0, 1.0, {}, {"actor/pg_loss": 0.501}))
    with pytest.raises(AssertionError, match=r"not the same work: actor/pg_loss is 0.5 without"):
        check_same_work(script, [other])
