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


def arguments(kind, model):
    return engine_on(kind, model)[1].arguments


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("llama") / "model", "llama")


def test_no_device_reads_the_memory_of_another_that_its_process_does_not_see(llama):
    assert run_world(arguments, 1, "cuda", llama)[0]["disable_custom_all_reduce"] is True
    assert "disable_custom_all_reduce" not in run_world(arguments, 1, "cpu", llama)[0]
