import pytest
import torch
import torch.distributed as dist
from vllm.distributed.parallel_state import get_tp_group

from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    generation_tensor_groups,
)
from planner.domain.resharding import reshard_volume
from runtime.engines.hybrid import probe, reshard
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from runtime.engines.vllm import GenerationEngine
from tests.runtime import tiny
from tests.runtime.worlds import run_world

CASES = [
    ("llama", "p1t1d1", 1, "fp32"),
    ("qwen2", "p1t2d1", 2, "fp32"),
    ("llama", "p1t2d2", 1, "fp32"),
    ("qwen3", "p1t4d1", 2, "fp32"),
    ("qwen2", "p2t2d1", 1, "fp32"),
    ("qwen3", "p2t2d1", 2, "fp32"),
    ("llama", "p1t2d1", 1, "bf16"),
]
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}
PROMPTS = [[5, 6, 7, 8], [9, 10, 11]]


def strategies(text, tensor):
    train = ParallelStrategy.parse(text)
    return train, GenerationStrategy(tensor=tensor, replicas=train.devices // tensor, max_sequences=4)


def train_and_reshard(model, text, tensor, precision):
    train, generate = strategies(text, tensor)
    engine = MegatronEngine(
        model=model,
        head="vocabulary",
        layout=Layout(train),
        precision=precision,
        seed=0,
        optimizer=OptimizerSettings(learning_rate=0.05),
    )
    engine.load(model.folder)
    generator = GenerationEngine(
        model=model,
        train=train,
        generate=generate,
        rank=dist.get_rank(),
        precision=precision,
        maximum_tokens=64,
        kv_cache_bytes=None,
    )
    found = {"before": reshard(engine, generator), "probe before": probe(engine, generator)}
    engine.update([{"tokens_bs": tiny.tokens(2, 10)}], lambda logprobs, _: (-logprobs.mean(), {}))
    found["probe stale"] = probe(engine, generator)
    found["after"], found["probe after"] = reshard(engine, generator), probe(engine, generator)
    found["group"] = list(get_tp_group().ranks)
    responses = generator.generate(
        PROMPTS, seeds=[1, 2], temperature=1.0, maximum_response_tokens=8, stop_token=None
    )
    found["responses"] = [response.tokens for response in responses]
    rows = torch.tensor([PROMPTS[0] + responses[0].tokens])
    logprobs = engine.forward(rows, micro_batch=1)
    if logprobs is not None:
        difference = logprobs[0, len(PROMPTS[0]) - 1 :] - torch.tensor(responses[0].logprobs)
        found["difference"] = difference.abs().max().item()
    generator.close()
    return found


@pytest.mark.parametrize(("kind", "text", "tensor", "precision"), CASES)
def test_generation_weights_are_the_training_weights_and_cost_the_bytes_predicted(
    tmp_path, kind, text, tensor, precision
):
    train, generate = strategies(text, tensor)
    model = tiny.write_model(tmp_path / "model", kind, kv_heads=4)
    ranks = run_world(train_and_reshard, train.devices, model, text, tensor, precision)
    for rank, found in enumerate(ranks):
        predicted = reshard_volume(model, train, generate, rank=rank, precision=precision)
        for report in (found["before"], found["after"]):
            assert report.received_bytes == predicted.received
            assert report.generation_bytes == predicted.generation
            assert report.seconds > 0
        assert found["probe before"] < TOLERANCE[precision]
        assert found["probe after"] < TOLERANCE[precision]
        assert found["probe stale"] > 2 * TOLERANCE[precision], (
            "training has moved the weights, and the probe must see it"
        )
        assert found.get("difference", 0.0) < TOLERANCE[precision]
        assert found["group"] in generation_tensor_groups(train, generate)
        assert found["responses"] == ranks[0]["responses"]
