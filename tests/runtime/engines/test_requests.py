from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from runtime.engines.requests import Request, Response, Sampling
from runtime.engines.vllm import GenerationEngine
from tests.runtime import tiny
from tests.runtime.worlds import WorldError, run_world

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15, 16]]
SAMPLING = Sampling(temperature=1.0, maximum_response_tokens=12)


def engine_of(model, *, tensor=1, max_sequences=4, cache_tokens=None):
    engine = GenerationEngine(
        model=model,
        train=ParallelStrategy(tensor=tensor, data=dist.get_world_size() // tensor),
        generate=GenerationStrategy(
            tensor=tensor,
            replicas=dist.get_world_size() // tensor,
            max_sequences=max_sequences,
            cache_tokens=cache_tokens,
        ),
        rank=dist.get_rank(),
        precision="fp32",
        maximum_tokens=160,
        kv_cache_bytes=None,
    )
    engine.load(weights_of(model))
    return engine


def weights_of(model, scale=1.0):
    return [(name, weight * scale) for name, weight in tiny.network_of(model).state_dict().items()]


def requests_of(so_far=(None, None, None)):
    return [
        Request(prompt=prompt, seed=7 + index, so_far=part)
        for index, (prompt, part) in enumerate(zip(PROMPTS, so_far, strict=True))
    ]


def advanced(engine, requests, sampling, *, steps):
    rollout = engine.start(requests, sampling)
    for _ in range(steps):
        rollout.advance()
    return rollout.interrupt()


def whole(engine, requests, sampling):
    rollout = engine.start(requests, sampling)
    order = []
    while rollout.running:
        order += rollout.advance()
    return rollout.interrupt(), order


def interrupt_and_go_on(model):
    engine = engine_of(model, max_sequences=2)
    found = {"at once": engine.generate(PROMPTS, SAMPLING, seeds=[7, 8, 9])}
    found["whole"], found["order"] = whole(engine, requests_of(), SAMPLING)
    found["cut"] = cut = advanced(engine, requests_of(), SAMPLING, steps=8)
    found["continued"], _ = whole(engine, requests_of(cut), SAMPLING)
    found["continued again"], _ = whole(engine, requests_of(cut), SAMPLING)
    greedy = Sampling(temperature=0.0, maximum_response_tokens=12)
    found["greedy"], _ = whole(engine, requests_of(), greedy)
    part = advanced(engine, requests_of(), greedy, steps=5)
    found["greedy cut"], (found["greedy continued"], _) = part, whole(engine, requests_of(part), greedy)
    stop = found["greedy"][0].tokens[7]
    stopping = Sampling(temperature=0.0, maximum_response_tokens=12, stop_tokens=(stop,))
    found["stopped"], _ = whole(engine, requests_of(part), stopping)
    found["one candidate"], _ = whole(engine, requests_of(), replace(SAMPLING, top_k=1))
    found["little probability"], _ = whole(engine, requests_of(), replace(SAMPLING, top_p=0.001))
    engine.load(weights_of(model, 1.1))
    found["new weights"], _ = whole(engine, requests_of(cut), SAMPLING)
    found["scores"] = engine.score([PROMPTS[0] + found["new weights"][0].tokens])[0]
    found["none"] = whole(engine, [], SAMPLING)
    engine.close()
    return found


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("llama") / "model", "llama")


@pytest.fixture(scope="module")
def found(llama):
    return run_world(interrupt_and_go_on, 1, llama)[0]


def test_a_rollout_that_is_not_interrupted_is_a_generation(found):
    assert [one.tokens for one in found["whole"]] == [one.tokens for one in found["at once"]]
    for one, other in zip(found["whole"], found["at once"], strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert all(one.is_finished for one in found["whole"])
    assert sorted(found["order"]) == [0, 1, 2]
    assert found["order"][-1] == 2, "the third has to wait for a place"


def test_an_interrupted_rollout_hands_back_what_it_has(found):
    for cut, one in zip(found["cut"], found["whole"], strict=True):
        assert cut.tokens == one.tokens[: len(cut.tokens)]
        assert len(cut.logprobs) == len(cut.tokens) < 12
        assert not cut.is_finished
    assert [len(cut.tokens) > 0 for cut in found["cut"]] == [True, True, False]


def test_a_continuation_keeps_what_was_there_and_draws_the_rest_anew(found):
    for cut, one in zip(found["cut"], found["continued"], strict=True):
        assert one.is_finished
        assert one.tokens[: len(cut.tokens)] == cut.tokens
        assert one.logprobs[: len(cut.tokens)] == cut.logprobs
        assert len(one.tokens) == len(one.logprobs) == 12
    assert [one.tokens for one in found["continued"]] == [one.tokens for one in found["continued again"]]
    assert found["continued"][0].tokens != found["whole"][0].tokens
    assert found["continued"][2].tokens == found["whole"][2].tokens, "it had not begun"


def test_greedy_responses_are_the_same_in_two_goes(found):
    assert [one.tokens for one in found["greedy continued"]] == [one.tokens for one in found["greedy"]]


def test_a_continuation_stops_at_the_stop_token(found):
    tokens, start = found["greedy"][0].tokens, len(found["greedy cut"][0].tokens)
    assert 0 < start < 8
    assert found["stopped"][0].tokens == tokens[: tokens.index(tokens[7], start) + 1]


def test_other_weights_go_on_from_what_the_old_ones_said(llama, found):
    start = len(found["cut"][0].tokens)
    response = found["new weights"][0]
    assert response.tokens[:start] == found["cut"][0].tokens
    assert response.logprobs[:start] == found["cut"][0].logprobs
    new = found["scores"][len(PROMPTS[0]) - 1 :]
    assert response.logprobs[start:] == pytest.approx(new[start:], abs=1e-4)
    assert response.logprobs[:start] != pytest.approx(new[:start], abs=1e-3)


def test_nothing_to_do_is_done_at_once(found):
    assert found["none"] == ([], [])


@pytest.mark.parametrize("name", ["one candidate", "little probability"])
def test_one_candidate_leaves_nothing_to_chance_and_has_the_probability_it_has_among_all(found, name):
    for one, greedy in zip(found[name], found["greedy"], strict=True):
        assert one.tokens == greedy.tokens
        assert one.logprobs == pytest.approx(greedy.logprobs, abs=1e-4)


def test_finished_responses_are_handed_through():
    done = Response(tokens=[1], logprobs=[-1.0])
    request = Request(prompt=[2], seed=3, so_far=done)
    assert request.done == done
    assert request.sampling_seed != 3


def interrupt_in_two_shards(model):
    engine = engine_of(model, tensor=2, max_sequences=2)
    torch.manual_seed(dist.get_rank())  # ranks' own random states differ
    cut = advanced(engine, requests_of(), SAMPLING, steps=8)
    continued, _ = whole(engine, requests_of(cut), SAMPLING)
    engine.close()
    return [[one.tokens for one in cut], [one.tokens for one in continued]]


def test_the_ranks_of_a_tensor_group_interrupt_and_continue_alike(llama, found):
    expected = [[one.tokens for one in found[name]] for name in ("cut", "continued")]
    assert run_world(interrupt_in_two_shards, 2, llama) == [expected] * 2


def generate_in_little_room(model, cache_tokens):
    engine = engine_of(model, cache_tokens=cache_tokens)
    blocks = engine._llm.llm_engine.vllm_config.cache_config.num_gpu_blocks
    prompts = [[3 + (step + offset) % 120 for step in range(100)] for offset in range(4)]
    sampling = Sampling(temperature=1.0, maximum_response_tokens=30)
    found = engine.generate(prompts, sampling, seeds=[1, 2, 3, 4])
    engine.close()
    return blocks, [one.tokens for one in found]


def test_a_smaller_cache_holds_so_many_tokens_and_changes_no_response(llama):
    blocks, small = run_world(generate_in_little_room, 1, llama, 320)[0]
    assert (blocks - 1) * 32 == 4 * 96, "whole blocks of each sequence's 80 tokens"
    blocks, large = run_world(generate_in_little_room, 1, llama, None)[0]
    assert (blocks - 1) * 32 == 4 * 160
    assert small == large


def test_a_cache_without_room_for_one_sequence_is_refused(llama):
    with pytest.raises(WorldError, match=r"PlanMismatchError: generate p1t1x1: cache_tokens=150 has no room"):
        run_world(generate_in_little_room, 1, llama, 150)
