"""What vLLM is told where there is CUDA, and in which order; told to a stand-in, for there is none."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from runtime.engines import vllm
from runtime.engines.hybrid import probe, reshard
from runtime.engines.layout import Layout
from tests.runtime import tiny
from tests.runtime.worlds import run_world


class Told:
    """In the place of vLLM's engine: notes what it is told, and scores every token 0."""

    def __init__(self, **arguments):
        self.arguments, self.steps = arguments, []

    def sleep(self, level):
        self.steps.append(f"sleep {level}")

    def wake_up(self, tags):
        self.steps += [f"wake {tag}" for tag in tags]

    def collective_rpc(self, method, kwargs):
        self.steps.append(method)

    def apply_model(self, function):
        pass

    def reset_prefix_cache(self):
        return True

    def generate(self, inputs, sampling, use_tqdm):
        self.steps.append("generate")
        zero = defaultdict(lambda: SimpleNamespace(logprob=0.0))
        return [
            SimpleNamespace(prompt_logprobs=[zero] * len(one["prompt_token_ids"]), outputs=[])
            for one in inputs
        ]


def engine_on(kind, model, **changes):
    """A generation engine that takes the machine for one of a kind, and vLLM's stand-in."""
    vllm.LLM, vllm.device_kind = Told, lambda: kind
    engine = vllm.GenerationEngine(
        model=model,
        train=ParallelStrategy(),
        generate=GenerationStrategy(max_sequences=4),
        rank=dist.get_rank(),
        precision="fp32",
        maximum_tokens=64,
        kv_cache_bytes=None,
        **changes,
    )
    return engine, engine._llm


def arguments(kind, model, **changes):
    return engine_on(kind, model, **changes)[1].arguments


def budgets(model):
    """Tokens of a pass with a budget below the sequences, a usual one, more than all tokens, and none."""
    on_cuda = [arguments("cuda", model, prefill_tokens=tokens) for tokens in (2, 100, 8192, None)]
    on_cpu = arguments("cpu", model, prefill_tokens=100)
    return [told.get("max_num_batched_tokens") for told in (*on_cuda, on_cpu)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("llama") / "model", "llama")


def test_no_device_reads_the_memory_of_another_that_its_process_does_not_see(llama):
    assert run_world(arguments, 1, "cuda", llama)[0]["disable_custom_all_reduce"] is True
    assert "disable_custom_all_reduce" not in run_world(arguments, 1, "cpu", llama)[0]


def test_a_pass_takes_in_the_tokens_that_the_plan_counts(llama):
    assert run_world(budgets, 1, llama) == [[4, 100, 256, None, None]]


def steps_of_a_sync(model):
    """What happens on a device from the start until generation is over, and in a second sync of weights."""
    generator, told = engine_on("cuda", model)
    vllm.release_memory = lambda: told.steps.append("release")
    gathered = SimpleNamespace(received_bytes=0, collectives=0)

    def forward(rows, micro_batch):
        told.steps.append("forward")
        return torch.zeros(len(rows), rows.shape[1] - 1)

    engine = SimpleNamespace(
        gather=lambda groups, bucket_bytes: gathered,
        offload=lambda: told.steps.append("offload"),
        forward=forward,
        layout=Layout(ParallelStrategy()),
    )
    for _ in range(2):
        reshard(engine, generator)
        assert probe(engine, generator) == 0
        generator.score([[1, 2]])
        generator.sleep()
    return told.steps


def test_the_cache_takes_memory_once_training_has_left_and_been_compared(llama):
    (steps,) = run_world(steps_of_a_sync, 1, llama)
    loaded = ["release", "release", "wake weights", "reload_weights", "offload"]
    asked = ["forward", "release", "wake kv_cache", "generate", "generate", "sleep 2"]
    assert steps == ["sleep 2", *[*loaded, *asked] * 2]
