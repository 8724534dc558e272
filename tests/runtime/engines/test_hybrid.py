import pytest
import torch
import torch.distributed as dist
from vllm.distributed import parallel_state

from planner.domain.grouping import Grouping, generation_groups
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.resharding import reshard_volume
from runtime.engines.hybrid import probe, reshard
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from runtime.engines.requests import Sampling
from runtime.engines.vllm import GenerationEngine
from tests.planner.domain.layouts import layouts
from tests.runtime import tiny
from tests.runtime.worlds import run_world

TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}
PROMPTS = [[5, 6, 7, 8], [9, 10, 11]]
BUCKET_BYTES = 200_000
"""So small that several are needed."""


def strategies(text, tensor):
    train = ParallelStrategy.parse(text)
    return train, GenerationStrategy(tensor=tensor, replicas=train.devices // tensor, max_sequences=4)


def training_engine(model, text, precision="fp32"):
    engine = MegatronEngine(
        model=model,
        head="vocabulary",
        layout=Layout(ParallelStrategy.parse(text)),
        precision=precision,
        seed=0,
        optimizer=OptimizerSettings(learning_rate=0.01),
    )
    engine.load(model.folder)
    return engine


def train_and_reshard(model, text, tensors, precision, grouping):
    """What resharding to every one of some tensor sizes does, with a training step in between."""
    engine = training_engine(model, text, precision)
    return [reshard_twice(engine, text, tensor, grouping) for tensor in tensors]


def generation_engine(engine, text, tensor, grouping="zero-redundancy"):
    train, generate = strategies(text, tensor)
    return GenerationEngine(
        model=engine.model,
        train=train,
        generate=generate,
        rank=dist.get_rank(),
        precision=engine.precision,
        maximum_tokens=64,
        kv_cache_bytes=None,
        grouping=grouping,
    )


def reshard_twice(engine, text, tensor, grouping):
    generator = generation_engine(engine, text, tensor, grouping)
    found = {"before": reshard(engine, generator, bucket_bytes=BUCKET_BYTES)}
    found["probe before"] = probe(engine, generator)
    engine.update([{"tokens_bs": tiny.tokens(2, 10)}], lambda logprobs, _: (-logprobs.mean(), {}))
    found["probe stale"] = probe(engine, generator)
    found["after"] = reshard(engine, generator, bucket_bytes=BUCKET_BYTES)
    found["probe after"] = probe(engine, generator)
    found["group"] = list(parallel_state.get_tp_group().ranks)
    responses = generator.generate(
        PROMPTS, Sampling(temperature=1.0, maximum_response_tokens=8), seeds=[1, 2]
    )
    found["responses"] = [response.tokens for response in responses]
    found["difference"] = difference(engine, responses[0])
    retire(generator)
    return found


def difference(engine, response):
    """Between the log-probabilities of the two engines, where this rank has Megatron's."""
    logprobs = engine.forward(torch.tensor([PROMPTS[0] + response.tokens]), micro_batch=1)
    if logprobs is None:
        return 0.0
    own = logprobs[0, len(PROMPTS[0]) - 1 :] - torch.tensor(response.logprobs)
    return own.abs().max().item()


_RETIRED = []


def retire(generator):
    """Make room for another engine in this process; it stays, as its end would take the world down."""
    _RETIRED.append(generator)
    dist.barrier()
    parallel_state.destroy_model_parallel()
    dist.barrier()


def check(model, text, tensor, precision, grouping, ranks):
    """What the ranks found about one layout, against the slice map."""
    train, generate = strategies(text, tensor)
    for rank, found in enumerate(ranks):
        predicted = reshard_volume(model, train, generate, rank=rank, precision=precision, grouping=grouping)
        for report in (found["before"], found["after"]):
            assert report.received_bytes == predicted.received
            assert report.generation_bytes == predicted.generation
            assert report.gathered_bytes == predicted.gathered
            assert report.seconds > 0
        assert found["probe before"] < TOLERANCE[precision]
        assert found["probe after"] < TOLERANCE[precision]
        assert found["probe stale"] > 2 * TOLERANCE[precision], (
            "training has moved the weights, and the probe must see it"
        )
        assert found["difference"] < TOLERANCE[precision]
        assert found["group"] in generation_groups(train, generate, grouping)
        assert found["responses"] == ranks[0]["responses"]


def run_and_check(model, text, tensors, precision="fp32", grouping: Grouping = "zero-redundancy", **options):
    size = ParallelStrategy.parse(text).devices
    ranks = run_world(train_and_reshard, size, model, text, tensors, precision, grouping, **options)
    for index, tensor in enumerate(tensors):
        check(model, text, tensor, precision, grouping, [found[index] for found in ranks])


CASES = [
    ("llama", "p1t1d1", (1,), "fp32"),
    ("llama", "p2t1d1", (1,), "fp32"),
    ("llama", "p1t1d2", (1,), "fp32"),
    ("qwen2", "p1t2d1", (2, 1), "fp32"),
    ("qwen3", "p1t4d1", (2,), "fp32"),
    ("qwen2", "p2t2d1", (1, 2), "fp32"),
    ("llama", "p1t2d2", (1,), "fp32"),
    ("llama", "p1t2d1", (1,), "bf16"),
    ("llama", "p1t2d1c2", (1,), "fp32"),
    ("llama", "p2t1d1v2", (1,), "fp32"),
    ("qwen3_moe", "p1t1d2e2", (1,), "fp32"),
    ("qwen3_moe", "p1t2d2e2", (2, 1), "fp32"),
]


@pytest.mark.parametrize(("kind", "text", "tensors", "precision"), CASES)
def test_generation_weights_are_the_training_weights_and_cost_the_bytes_predicted(
    tmp_path, kind, text, tensors, precision
):
    model = tiny.write_model(tmp_path / "model", kind, layers=5, kv_heads=4)
    run_and_check(model, text, tensors, precision)


@pytest.mark.parametrize("grouping", ["vanilla", "full"])
@pytest.mark.parametrize(("text", "tensors"), [("p1t4d1", (2,)), ("p2t1d2", (1,))])
def test_other_groupings_bring_the_same_weights_at_the_cost_predicted(tmp_path, text, tensors, grouping):
    model = tiny.write_model(tmp_path / "model", "llama", layers=5, kv_heads=4)
    run_and_check(model, text, tensors, grouping=grouping)


def probe_with_a_wrong_weight_on(model, text, ranks):
    """What the probe says when one rank's generation engine, or with None no rank's, has a wrong weight."""
    engine = training_engine(model, text)
    generator = generation_engine(engine, text, 1)
    found = []
    for wrong in ranks:
        factor = 2.0 if wrong == dist.get_rank() else 1.0
        generator.load(
            [
                (name, factor * weight if name == "model.norm.weight" else weight.clone())
                for name, weight in engine.export()
            ]
        )
        found.append(probe(engine, generator))
    return found


def test_the_probe_compares_the_replicas_of_every_stage(tmp_path):
    model = tiny.write_model(tmp_path / "model", "llama")
    first, last = run_world(probe_with_a_wrong_weight_on, 2, model, "p2t1d1", (None, 0, 1))
    assert first == last
    right, *wrong = first
    assert right < TOLERANCE["fp32"]
    assert min(wrong) > 0.1


def tensor_sizes_by_layout():
    """Every (p, t, d) of up to 8 processes whose t divides the model's 8 heads, with every t_g."""
    sizes = {}
    for devices in range(1, 9):
        for train, generate in layouts(devices):
            if 8 % train.tensor == 0:
                sizes.setdefault(str(train), []).append(generate.tensor)
    return list(sizes.items())


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide") / "model"
    return tiny.write_model(folder, "llama", layers=9, heads=8, kv_heads=8, ffn=128, vocab=512)


@pytest.mark.slow
@pytest.mark.parametrize(("text", "tensors"), tensor_sizes_by_layout())
def test_every_layout_of_up_to_8_processes(wide, text, tensors):
    run_and_check(wide, text, tensors, timeout_s=500)


@pytest.mark.slow
@pytest.mark.parametrize("grouping", ["vanilla", "full"])
@pytest.mark.parametrize(("text", "tensors"), [("p2t4d1", (1, 2)), ("p2t2d2", (2,)), ("p1t8d1", (4,))])
def test_other_groupings_on_8_processes(wide, text, tensors, grouping):
    run_and_check(wide, text, tensors, grouping=grouping, timeout_s=500)


def test_the_matrix_has_every_layout():
    assert sum(len(tensors) for _, tensors in tensor_sizes_by_layout()) == 49
