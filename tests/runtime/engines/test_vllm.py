import os
import signal

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from runtime.engines.requests import Sampling
from runtime.engines.vllm import GenerationEngine
from runtime.platform import vllm as platform
from runtime.platform.patches import apply_once
from tests.runtime import tiny
from tests.runtime.worlds import WorldError, run_world, shared_memory

PROMPTS = [[5, 6, 7, 8], [9, 10, 11], [12, 13, 14, 15, 16]]


def engine_of(model, *, tensor=1, pipeline=1, maximum_tokens=160, temperature=1.0):
    size = dist.get_world_size()
    return GenerationEngine(
        model=model,
        train=ParallelStrategy(tensor=tensor, data=size // tensor),
        generate=GenerationStrategy(
            pipeline=pipeline, tensor=tensor, replicas=size // tensor // pipeline, max_sequences=4
        ),
        rank=dist.get_rank(),
        precision="fp32",
        maximum_tokens=maximum_tokens,
        kv_cache_bytes=None,
        temperature=temperature,
    )


def weights_of(model, scale=1.0):
    """As in the folder: a tied head is not sent."""
    network = tiny.network_of(model).state_dict()
    if model.tied_embeddings:
        del network["lm_head.weight"]
    return [(name, weight * scale) for name, weight in network.items()]


def greedy(model, count):
    network = tiny.network_of(model)
    rows = []
    for prompt in PROMPTS:
        row = torch.tensor([prompt])
        for _ in range(count):
            row = torch.cat([row, network(row).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        rows.append(row)
    return network, rows


def respond(engine, prompts, seeds, temperature=1.0, stop_tokens=(), tokens=12):
    sampling = Sampling(temperature=temperature, maximum_response_tokens=tokens, stop_tokens=stop_tokens)
    return engine.generate(prompts, sampling, seeds=seeds)


def generate_in_many_ways(model):
    engine = engine_of(model)
    engine.load(weights_of(model))
    found = {"greedy": respond(engine, PROMPTS, [0, 0, 0], temperature=0.0)}
    likeliest = found["greedy"][0].tokens
    unlikely = next(token for token in range(tiny.VOCAB) if token not in likeliest)
    found["stopped"] = respond(
        engine, PROMPTS[:1], [0], temperature=0.0, stop_tokens=(unlikely, likeliest[4])
    )
    found["together"] = respond(engine, PROMPTS, [7, 8, 9])
    found["reversed"] = respond(engine, PROMPTS[::-1], [9, 8, 7])[::-1]
    found["alone"] = [respond(engine, [PROMPTS[index]], [7 + index])[0] for index in range(3)]
    found["other seeds"] = respond(engine, PROMPTS, [10, 11, 12])
    found["none"] = respond(engine, [], [])
    found["scores"] = engine.score([row + likeliest for row in PROMPTS[:1]])
    long_prompt = [[3 + step % 120 for step in range(140)]]  # more than one block of the cache
    engine.load(weights_of(model, 1.1))
    respond(engine, long_prompt, [0], temperature=0.0)
    engine.load(weights_of(model))
    found["after reload"] = respond(engine, long_prompt, [0], temperature=0.0)
    found["expected"] = greedy_after(model, long_prompt[0], 12)
    engine.close()
    return found


def greedy_after(model, prompt, count):
    network, row = tiny.network_of(model), torch.tensor([prompt])
    for _ in range(count):
        row = torch.cat([row, network(row).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return row[0, len(prompt) :].tolist()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("llama") / "model", "llama")


@pytest.fixture(scope="module")
def generated(llama):
    return run_world(generate_in_many_ways, 1, llama)[0]


def test_greedy_tokens_and_logprobs_are_those_of_transformers(llama, generated):
    network, rows = greedy(llama, 12)
    for prompt, row, response in zip(PROMPTS, rows, generated["greedy"], strict=True):
        assert response.tokens == row[0, len(prompt) :].tolist()
        expected = tiny.logprobs(network, row)[0, len(prompt) - 1 :]
        assert response.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_scores_are_those_of_transformers(llama, generated):
    network, rows = greedy(llama, 12)
    assert generated["scores"][0] == pytest.approx(tiny.logprobs(network, rows[0])[0].tolist(), abs=1e-4)


def respond_at_a_temperature(model, temperature):
    engine = engine_of(model, temperature=temperature)
    engine.load(weights_of(model))
    (response,) = respond(engine, PROMPTS[:1], [7])
    row = PROMPTS[0] + response.tokens
    found = response.logprobs, engine.score([row])[0], row
    engine.close()
    return found


def test_log_probabilities_are_those_of_the_policy_at_its_temperature(llama):
    logprobs, scores, row = run_world(respond_at_a_temperature, 1, llama, 0.5)[0]
    network, tokens_bs = tiny.network_of(llama), torch.tensor([row])
    expected = tiny.logprobs(network, tokens_bs, temperature=0.5)[0].detach()
    assert scores == pytest.approx(expected.tolist(), abs=1e-4)
    assert logprobs == pytest.approx(expected[len(PROMPTS[0]) - 1 :].tolist(), abs=1e-4)


def test_a_response_ends_with_the_stop_token(generated):
    tokens = generated["greedy"][0].tokens
    stopped = generated["stopped"][0]
    assert stopped.tokens == tokens[: tokens.index(tokens[4]) + 1]
    assert len(stopped.logprobs) == len(stopped.tokens)


def test_samples_depend_on_their_own_seed_only(generated):
    together = [response.tokens for response in generated["together"]]
    assert [response.tokens for response in generated["reversed"]] == together
    assert [response.tokens for response in generated["alone"]] == together
    assert all(len(tokens) == 12 for tokens in together)
    others = [response.tokens for response in generated["other seeds"]]
    assert all(mine != other for mine, other in zip(together, others, strict=True))


def test_no_prompt_gives_no_response(generated):
    assert generated["none"] == []


def test_new_weights_forget_what_the_old_ones_have_cached(generated):
    assert generated["after reload"][0].tokens == generated["expected"]


def sample_in_two_shards(model):
    engine = engine_of(model, tensor=2)
    engine.load(weights_of(model))
    torch.manual_seed(dist.get_rank())  # ranks' own random states differ
    found = respond(engine, PROMPTS, [7, 8, 9])
    engine.close()
    return [response.tokens for response in found]


def test_the_ranks_of_a_tensor_group_sample_the_same_as_one_process_does(llama, generated):
    ranks = run_world(sample_in_two_shards, 2, llama)
    assert ranks == [[response.tokens for response in generated["together"]]] * 2


def reload_tied_head(model, is_repacked):
    if not is_repacked:
        platform.repack_tied_head = lambda model: None
    engine = engine_of(model)
    engine.load(weights_of(model))
    return engine.score([PROMPTS[0]])[0]


def test_a_tied_head_follows_the_embedding_only_when_packed_again(tmp_path):
    """When the second half fails, `repack_tied_head` is no longer needed."""
    model = tiny.write_model(tmp_path / "model", "qwen3")
    expected = tiny.logprobs(tiny.network_of(model), torch.tensor(PROMPTS[:1]))[0].tolist()
    assert run_world(reload_tied_head, 1, model, True)[0] == pytest.approx(expected, abs=1e-4)
    assert run_world(reload_tied_head, 1, model, False)[0] != pytest.approx(expected, abs=1e-2)


def reload_experts(model, tensor, without):
    """Scores after several loads of the same weights, and of others in between."""
    apply_once(platform.PATCHES, without=without)
    weights = list(load_file(f"{model.folder}/model.safetensors").items())
    engine = engine_of(model, tensor=tensor)
    scores = []
    for scale in (1.0, 1.1, 1.0):
        engine.load([(name, weight * scale) for name, weight in weights])
        scores.append(engine.score([PROMPTS[0]])[0])
    engine.close()
    return scores


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("experts") / "model", "qwen3_moe")


@pytest.mark.parametrize("tensor", [1, 2])
def test_reloaded_experts_are_those_of_transformers(experts, tensor):
    expected = tiny.logprobs(tiny.network_of(experts), torch.tensor(PROMPTS[:1]))[0].tolist()
    for first, other, again in run_world(reload_experts, tensor, experts, tensor, ""):
        assert first == pytest.approx(expected, abs=1e-4)
        assert other != pytest.approx(expected, abs=1e-2)
        assert again == pytest.approx(expected, abs=1e-4)


def test_without_its_patch_a_reload_loses_the_padding_of_experts(experts):
    """When this fails, the patch is no longer needed."""
    with pytest.raises(WorldError, match="must match the size"):
        run_world(reload_experts, 1, experts, 1, "vllm-experts-packed")


def die_without_cleaning_up(model):
    engine = engine_of(model, tensor=2)
    engine.load(weights_of(model))
    respond(engine, PROMPTS, [7, 8, 9])
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_rank_leaves_nothing_in_shared_memory(llama):
    before = shared_memory()
    with pytest.raises(WorldError, match="died without a word"):
        run_world(die_without_cleaning_up, 2, llama)
    assert shared_memory() <= before


def test_layouts_that_vllm_cannot_run_are_refused_by_field(llama):
    with pytest.raises(WorldError, match=r"PlanMismatchError: generate p2t1x1: pipeline=2"):
        run_world(two_stages, 2, llama)
    odd = llama.model_copy(update={"vocab": 96})
    with pytest.raises(WorldError, match=r"PlanMismatchError: generate p1t2x1: vocab=96 of llama must be"):
        run_world(sample_in_two_shards, 2, odd)
    with pytest.raises(WorldError, match=r"maximum_tokens=160 exceeds max_positions=100"):
        run_world(engine_of, 1, llama.model_copy(update={"max_positions": 100}))
    with pytest.raises(WorldError, match=r"SpecError: llama: generation needs the folder"):
        run_world(engine_of, 1, llama.model_copy(update={"folder": None}))


def two_stages(model):
    engine_of(model, pipeline=2)
