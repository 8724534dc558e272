"""Generation on a pool of its own, ahead of training: real Ray, Megatron and vLLM."""

import json

import pytest

import runtime
from planner.domain.lengths import TokenLengths
from tests.runtime.plans import asynchronous_plan

ITERATIONS = 5


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asynchronous") / "run"
    plan = asynchronous_plan(epochs=4)  # an update that is long beside the weights' way on a busy machine
    result = runtime.run(plan, out=folder, iterations=ITERATIONS)
    return result, metrics(folder)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_weights_are_as_stale_as_the_plan_says_and_never_more(finished):
    _, lines = finished
    assert [line["staleness/weights"] for line in lines] == [0, 1, 1, 1, 1]


def test_the_generators_weights_are_the_actors(finished):
    _, lines = finished
    assert all(0 < line["reshard/logprob_difference_max"] < 1e-4 for line in lines)


@pytest.mark.slow
def test_generation_runs_ahead_by_several_iterations_and_also_carries(tmp_path):
    lengths = TokenLengths(mean=16, maximum=32)
    plan = asynchronous_plan(staleness=2, generator=2, carry=0.5, response_tokens=lengths, epochs=4)
    runtime.run(plan, out=tmp_path / "run", iterations=6)
    lines = metrics(tmp_path / "run")
    assert [line["staleness/weights"] for line in lines] == [0, 1, 2, 2, 2, 2]
    oldest = max(line["staleness/tokens/max"] for line in lines)
    assert 2 <= oldest <= 3, "one iteration carried, two ahead"
    assert all(0 <= line["reshard/logprob_difference_max"] < 1e-4 for line in lines)


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carried") / "run"
    lengths = TokenLengths(mean=16, maximum=32)
    plan = asynchronous_plan(generator=2, carry=0.5, response_tokens=lengths)
    settings = plan.scenario.run.model_copy(update={"checkpoint_every": 3})
    plan = plan.model_copy(update={"scenario": plan.scenario.model_copy(update={"run": settings})})
    runtime.run(plan, out=folder, iterations=3)
    runtime.run(plan, out=folder, iterations=6, resume=True)
    return metrics(folder)


@pytest.mark.slow
def test_unfinished_responses_go_on_also_after_a_checkpoint(carried):
    assert [line["staleness/carried_prompts"] for line in carried] == [2] * 6
    oldest = [line["staleness/tokens/max"] for line in carried]
    assert max(oldest) <= 2, "one iteration carried, one ahead"
    assert max(oldest[3:]) >= 1


@pytest.mark.slow
def test_log_probabilities_of_responses_that_several_weights_wrote_are_those_of_the_weights(carried):
    assert all(0 <= line["reshard/logprob_difference_max"] < 1e-4 for line in carried)
    assert all(abs(line["actor/ppo_kl"]) < 1 for line in carried)


def test_generation_runs_beside_the_training_of_the_iteration_before(finished):
    result, _ = finished
    spans = {(span.iteration, span.call): span for span in result.timeline.spans}
    for iteration in range(1, ITERATIONS - 1):
        ahead, training = spans[iteration + 1, "generator.generate"], spans[iteration, "actor.update"]
        assert ahead.start_s < training.end_s
