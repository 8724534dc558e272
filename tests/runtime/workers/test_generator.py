"""The bound on staleness, as generation holds to it."""

import pytest

from runtime.workers.actor import refuse_stale
from runtime.workers.generator import GeneratorWorker
from tests.runtime.workers.rollouts import FakeEngine, calls_of, sampler_of, workload_of


def test_weights_may_be_as_many_updates_behind_as_the_bound_says():
    assert [refuse_stale(iteration, 3, bound=2) for iteration in (-1, 0, 3, 4, 5)] == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(("iteration", "version", "bound"), [(1, 0, 0), (6, 3, 2), (3, 0, 2)])
def test_weights_that_are_further_behind_generate_nothing(iteration, version, bound):
    behind = iteration - version
    with pytest.raises(RuntimeError) as caught:
        refuse_stale(iteration, version, bound=bound)
    assert str(caught.value) == (
        f"iteration {iteration} would be generated with weights of {behind} updates before, at most {bound} "
        "are permitted (staleness); make the plan again"
    )


def test_a_generator_runs_two_iterations_ahead_where_the_plan_says_so_and_not_three():
    engine, workload = FakeEngine(0, 1), workload_of(2, 2)
    sampler = sampler_of(engine, workload, limit=1)
    worker = GeneratorWorker(engine, sampler, staleness=2, logprob_tolerance=1.0)
    calls = [next(calls_of(workload, iteration, replicas=1, extra=1)) for iteration in range(4)]
    answers = [worker.generate(call, fields) for call, fields in calls[:3]]
    assert [answer.metrics["staleness/weights"] for answer in answers] == [0, 1, 2]
    assert all(len(answer.lengths) == 4 for answer in answers)
    with pytest.raises(RuntimeError, match="weights of 3 updates before, at most 2 are permitted"):
        worker.generate(*calls[3])
