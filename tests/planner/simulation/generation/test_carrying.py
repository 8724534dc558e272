"""Generations that end when they have enough prompts, and go on later."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.simulation.generation import generate, report
from planner.simulation.generation.requests import draw
from tests.planner.simulation.generation.play import TAILED, layout, played, some


@some
@given(
    seed=st.integers(0, 2**20),
    enough=st.integers(1, 64),
    balance=st.sampled_from(["split", "queue"]),
    samples=st.sampled_from([1, 4]),
    turns=st.sampled_from([None, {"count": 3, "wait": "2 s", "tokens": 50}]),
    cache=st.sampled_from([None, 30_000]),
)
def test_when_enough_prompts_are_whole_the_rest_goes_on_later(
    setting_of, seed, enough, balance, samples, turns, cache
):
    prompts = 64 // samples
    enough = min(enough, prompts)
    work = {"prompts": prompts, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting = setting_of(turns=turns, **work)
    strategy = layout(replicas=3, max_sequences=8, cache_tokens=cache)
    requests = draw(setting.workload, seed=seed)
    whole = generate(setting, strategy, requests, balance=balance)
    outcome = generate(setting, strategy, requests, balance=balance, enough=enough)
    found = report("a", outcome, setting, strategy)
    assert outcome.end_s <= whole.end_s
    whole_at = completions(requests, outcome)
    assert whole_at[enough - 1] == whole_at[-1] == found.seconds == outcome.end_s
    assert found.responses >= enough * samples
    assert outcome.left.prompts == prompts - len(whole_at)
    assert found.responses + len(outcome.left) == 64
    assert found.response_tokens + outcome.left.tokens == requests.tokens
    assert (outcome.left.produced < outcome.left.response).all()
    assert found.carried == len(outcome.left)
    if len(outcome.left):
        rest = report("a", generate(setting, strategy, outcome.left, balance=balance), setting, strategy)
        assert rest.response_tokens == outcome.left.tokens
        assert rest.responses == len(outcome.left)


def completions(requests, outcome):
    """When each prompt that has all its responses had them, in order."""
    ends = {}
    for time, index in (one for part in outcome.parts for one in part.replica.finished):
        ends.setdefault(int(requests.group[index]), []).append(time)
    asked = np.bincount(requests.group)
    return sorted(max(times) for group, times in ends.items() if len(times) == asked[group])


@some
@given(
    seed=st.integers(0, 2**20),
    balance=st.sampled_from(["split", "queue"]),
    replicas=st.integers(1, 6),
    samples=st.sampled_from([1, 4, 16]),
)
def test_a_prompt_that_goes_on_is_whole_when_its_last_responses_are(
    setting_of, seed, balance, replicas, samples
):
    """What was done before the cut is not generated again."""
    work = {"prompts": 64 // samples, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting = setting_of(**work)
    strategy = layout(replicas=replicas, max_sequences=24)
    requests = draw(setting.workload, seed=seed)
    first = generate(setting, strategy, requests, balance=balance, enough=32 // samples)
    done = {index for part in first.parts for _, index in part.replica.finished}
    left = [index for index in range(64) if index not in done]
    assert first.left.response.tolist() == requests.response[left].tolist()
    second = generate(setting, strategy, first.left, balance=balance, enough=1)
    assert second.end_s == completions(first.left, second)[0]


def receivers(requests, outcome):
    """The part that has each response, where all are done."""
    found = np.full(len(requests), -1)
    for number, part in enumerate(outcome.parts):
        found[[index for _, index in part.replica.finished]] = number
    return found


@some
@given(seed=st.integers(0, 2**20), replicas=st.integers(2, 6), samples=st.sampled_from([1, 4, 16]))
def test_what_goes_on_is_dealt_to_all_replicas_with_its_prompt_together(setting_of, seed, replicas, samples):
    work = {"prompts": 192 // samples, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting, strategy = setting_of(**work), layout(replicas=replicas)
    requests = draw(setting.workload, seed=seed)
    left = generate(setting, strategy, requests, enough=144 // samples).left
    both = left.before(draw(setting.workload, seed=seed, iteration=1))
    outcome = generate(setting, strategy, both)
    of = receivers(both, outcome)
    loads = [part.asked for part in outcome.parts]
    assert max(loads) == -(-len(both) // replicas)
    carried = np.bincount(of[: len(left)], minlength=replicas)
    assert carried.max() - carried.min() <= samples
    prompts = [set(of[: len(left)][left.group == group].tolist()) for group in np.unique(left.group)]
    assert all(len(parts) == 1 for parts in prompts)


def test_one_sample_a_prompt_that_goes_on_is_dealt_in_turn(setting_of):
    setting, strategy = setting_of(prompts=30, response_tokens=TAILED), layout(replicas=4)
    left = played(setting, strategy, enough=20).left
    outcome = generate(setting, strategy, left.before(draw(setting.workload, seed=1)))
    assert [part.asked for part in outcome.parts] == [10, 10, 10, 10]
    of = receivers(left.before(draw(setting.workload, seed=1)), outcome)
    assert of.tolist() == [number % 4 for number in range(40)]


def test_what_goes_on_reads_what_it_had_with_its_answers(setting_of):
    """Cut off after the first of two turns."""
    setting = setting_of(prompts=2, response_tokens=200, turns={"count": 2, "wait": "1 s", "tokens": 30})
    strategy = layout(replicas=2, max_sequences=1)
    outcome = played(setting, strategy, enough=1)
    (produced,) = outcome.left.produced.tolist()
    assert 100 <= produced < 200
    rest = report("a", generate(setting, strategy, outcome.left), setting, strategy)
    assert rest.read_tokens == 512 + produced + 30
    assert rest.idle_device_seconds["tools"] == 0
