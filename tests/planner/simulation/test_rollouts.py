"""What every iteration generates when unfinished responses are carried on."""

from functools import lru_cache
from itertools import accumulate

import pytest

import planner
from planner.domain.job import Rollouts
from planner.domain.lengths import TokenLengths

ITERATIONS = 6
EQUAL = {
    "prompt_tokens": TokenLengths(mean=200, maximum=200),
    "response_tokens": TokenLengths(mean=1000, maximum=1000),
}


@pytest.fixture
def from_the_start(monkeypatch):
    """The iterations that are told are the very first ones."""
    monkeypatch.setattr("planner.simulation.rollouts.PILING", 0)


@lru_cache
def plan():
    return planner.plan(planner.read_scenario("scenarios/examples/grpo-7b.yaml")).plan


def generations(rollouts, *, slots=None, **work):
    """Of so many iterations of the plan on other terms."""
    workload = plan().scenario.workload.model_copy(update=work)
    scenario = plan().scenario.model_copy(update={"workload": workload, "rollouts": rollouts})
    strategies = dict(plan().strategies)
    if slots:
        generate = strategies["actor"].generate.model_copy(update={"max_sequences": slots})
        strategies["actor"] = strategies["actor"].model_copy(update={"generate": generate})
    other = plan().model_copy(update={"scenario": scenario, "strategies": strategies})
    return planner.simulate(other, iterations=ITERATIONS, curves=False).generation


def test_prompts_beyond_an_iterations_count_for_the_next_one():
    """Of one length, two at a time on each of 32 replicas, half as many again under way as the 96 wanted.

    Two waves bring 128, so that for the next iteration one of 64 is enough, and so on.
    """
    found = generations(Rollouts(carry=0.5), slots=2, prompts=96, samples_per_prompt=1, **EQUAL)
    assert [one.responses for one in found] == [128, 64] * 3
    assert [one.carried for one in found] == [16, 48] * 3
    for two, one in zip(found[::2], found[1::2], strict=True):
        assert one.seconds == pytest.approx(two.seconds / 2, rel=0.02)


def test_what_is_told_is_a_training_under_way():
    """One response in eleven is long, so that long ones pile up for ten iterations and more."""
    histogram = {"edges": [100, 200, 7900, 8000], "counts": [10, 0, 1]}
    lengths = TokenLengths.model_validate({"histogram": histogram, "maximum": 8192})
    found = generations(Rollouts(carry=0.5), prompts=64, samples_per_prompt=1, response_tokens=lengths)
    asked = 64 * lengths.mean
    told = sum(one.response_tokens for one in found) / len(found)
    assert told == pytest.approx(asked, rel=0.3)


@pytest.mark.usefixtures("from_the_start")
def test_far_more_prompts_than_wanted_are_not_lost():
    """All are done at once; each iteration draws as many as it uses, and those beyond stay."""
    found = generations(Rollouts(carry=3), prompts=32, samples_per_prompt=1, **EQUAL)
    assert [one.responses for one in found] == [128] + [32] * (ITERATIONS - 1)


@pytest.mark.usefixtures("from_the_start")
@pytest.mark.parametrize("balance", ["split", "queue"])
def test_every_response_is_generated_once_and_all_prompts_under_way_are_the_same_number(balance):
    carry, samples = 0.25, plan().scenario.workload.samples
    found = generations(Rollouts(carry=carry, balance=balance))
    done = accumulate(one.responses for one in found)
    for index, (one, responses) in enumerate(zip(found, done, strict=True)):
        assert responses + one.carried == samples * (1 + carry + index)
        assert responses >= samples * (1 + index)
        assert 0 < one.carried < carry * samples
