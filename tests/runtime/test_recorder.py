import pytest

from runtime.recorder import Recorder
from runtime.watch import SubmittedCall
from runtime.workers.call import Report


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 100.0)
    return Recorder()


def finished(name, kind, *times, pool="pool-0", parts=None):
    reports = {rank: Report(start, end, parts or {}, {}) for rank, (start, end) in enumerate(times)}
    role = name.split(".")[0]
    return SubmittedCall(pool=pool, role=role, name=name, kind=kind, ranks=len(times), of_ranks=reports)


def test_a_call_lasts_from_the_first_start_to_the_last_end(recorder):
    (span,) = recorder.add([finished("critic.values", "infer", (101, 103), (102, 104))], iteration=3)
    assert (span.start_s, span.end_s, span.iteration) == (1, 4, 3)
    assert (span.pool, span.role, span.call, span.kind) == ("pool-0", "critic", "critic.values", "infer")


def test_calls_of_one_pool_do_not_overlap_when_a_rank_runs_ahead(recorder):
    first = finished("critic.values", "infer", (101, 102), (101, 104))
    second = finished("reward.scores", "infer", (102, 105), (104, 106))
    spans = recorder.add([first, second], iteration=0)
    assert [(span.start_s, span.end_s) for span in spans] == [(1, 4), (4, 6)]


def test_calls_of_two_pools_may_overlap(recorder):
    first = finished("critic.values", "infer", (101, 104))
    second = finished("reward.scores", "infer", (102, 103), pool="pool-1")
    spans = recorder.add([first, second], iteration=0)
    assert [(span.pool, span.start_s, span.end_s) for span in spans] == [("pool-0", 1, 4), ("pool-1", 2, 3)]


def test_the_weight_sync_of_generation_is_a_span_of_its_own(recorder):
    done = finished("actor.generate", "generate", (101, 107), (101, 108), parts={"reshard": (101, 102.5)})
    spans = recorder.add([done], iteration=0)
    assert [(span.call, span.kind, span.start_s, span.end_s) for span in spans] == [
        ("actor.generate/reshard", "reshard", 1, 2.5),
        ("actor.generate", "generate", 2.5, 8),
    ]


def test_the_spans_of_every_iteration_are_kept(recorder):
    for iteration in range(2):
        done = finished("critic.values", "infer", (101 + iteration, 101.5 + iteration))
        recorder.add([done], iteration=iteration)
    spans = list(recorder.spans())
    assert [span.iteration for span in spans] == [0, 1]
    assert [span.seconds for span in spans] == [0.5, 0.5]


def test_calls_of_a_pool_do_not_overlap_with_those_of_the_iteration_before(recorder):
    recorder.add([finished("actor.update", "train", (101, 104), (101, 106))], iteration=0)
    (span,) = recorder.add([finished("actor.generate", "generate", (104, 108), (106, 109))], iteration=1)
    assert (span.start_s, span.end_s) == (6, 9)


def test_calls_that_a_pool_ran_before_those_of_an_earlier_iteration_stay_where_they_were(recorder):
    (later,) = recorder.add([finished("generator.receive", "receive", (105, 106))], iteration=0)
    (ahead,) = recorder.add(
        [finished("generator.generate", "generate", (101, 104), (101, 105.5))], iteration=1
    )
    assert (later.start_s, later.end_s) == (5, 6)
    assert (ahead.start_s, ahead.end_s) == (1, 5)
