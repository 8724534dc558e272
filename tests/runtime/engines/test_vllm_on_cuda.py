"""What vLLM is told where there is CUDA, and in which order; told to a stand-in, for there is none."""

import pytest
import torch.distributed as dist

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from runtime.engines import vllm
from tests.runtime import tiny
from tests.runtime.worlds import run_world


class Told:
    """In the place of vLLM's engine: notes what it is told."""

    def __init__(self, **arguments):
        self.arguments = arguments


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
