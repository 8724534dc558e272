"""Predicted bytes of parameters, gradients and optimizer states, against the real modules' on every rank."""

import pytest

from planner.costs.memory.buffers import rank_states
from planner.costs.memory.states import frozen_states, states_at
from planner.costs.passes.training import sizes_of
from planner.costs.setting import Job
from planner.domain.catalog import read_training_stack
from planner.domain.model import MlaSpec, ModelSpec, MoeSpec
from planner.domain.parallelism import Coordinates, ParallelStrategy, coordinates
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from tests.runtime import tiny
from tests.runtime.engines import experts
from tests.runtime.plans import tiny_plan
from tests.runtime.worlds import run_world

LAYOUTS = ["p1t2d1", "p2t1d1", "p1t1d2", "p2t2d1"]
SLOW_LAYOUTS = ["p1t1d1", "p1t1d3", "p2t1d2", "p1t2d2", "p2t2d2", "p3t1d2"]
EXPERT_LAYOUTS = ["p1t1d2", "p1t1d2e2", "p1t2d1"]
CONTEXT_LAYOUTS = ["p1t1d1c2", "p1t2d1c2", "p2t1d1c2", "p2t1d1v2"]
SLOW_EXPERT_LAYOUTS = ["p1t2d2e2", "p2t1d2e2"]
KINDS = ["llama", "qwen2", "qwen3"]
CASES = [
    (kind, head, precision)
    for kind in KINDS
    for head in ("vocabulary", "scalar")
    for precision in ("fp32", "bf16")
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three layers, so that two stages differ; Qwen3's head norms leave gaps in its buffers."""
    folder = tmp_path_factory.mktemp("models")
    return {kind: tiny.write_model(folder / kind, kind, layers=3) for kind in KINDS}


def measured(models, strategy, is_trained):
    """Bytes of each case on this rank."""
    layout = Layout(ParallelStrategy.parse(strategy))
    settings = OptimizerSettings(learning_rate=1e-3) if is_trained else None
    return [
        MegatronEngine(
            model=models[kind], head=head, layout=layout, precision=precision, seed=0, optimizer=settings
        ).static_bytes()
        for kind, head, precision in CASES
    ]


def job_of(model, head, precision, **stack):
    node_pool = tiny_plan({("actor",): ParallelStrategy()}).scenario.cluster.node_pools[0]
    engine = read_training_stack("megatron-core-cpu").model_copy(update=stack)
    return Job(model=model, head=head, precision=precision, node_pool=node_pool, stack=engine, tokens=8)


def as_dict(states):
    kinds = ("parameters", "gradients", "optimizer")
    return {kind: int(getattr(states, kind)) for kind in kinds}


def assert_equal_on_every_rank(models, strategy):
    layout = ParallelStrategy.parse(strategy)
    sizes = sizes_of(layout)
    for rank, found in enumerate(run_world(measured, layout.devices, models, strategy, True)):
        at = coordinates(layout, rank)
        for (kind, head, precision), held in zip(CASES, found, strict=True):
            job = job_of(models[kind], head, precision)
            assert held == as_dict(rank_states(job, sizes, at)), (kind, head, precision, rank)
            fullest = as_dict(states_at(job, sizes, at.pipeline))
            if at.data == 0 and kind == "llama":  # every tensor is a multiple of 64 elements: no gaps
                assert held == fullest
            assert all(held[name] <= fullest[name] for name in held)


@pytest.mark.parametrize("strategy", LAYOUTS)
def test_trained_models_hold_what_is_predicted_on_every_rank(models, strategy):
    assert_equal_on_every_rank(models, strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SLOW_LAYOUTS)
def test_trained_models_hold_what_is_predicted_on_every_rank_of_larger_layouts(models, strategy):
    assert_equal_on_every_rank(models, strategy)


@pytest.mark.parametrize("strategy", CONTEXT_LAYOUTS)
def test_context_ranks_share_the_states_and_chunks_hold_the_layers_that_are_predicted(models, strategy):
    layout = ParallelStrategy.parse(strategy)
    model = models["llama"].model_copy(update={"layers": 4})
    cases = [(head, precision) for head in ("vocabulary", "scalar") for precision in ("fp32", "bf16")]
    for rank, found in enumerate(run_world(measured_llama, layout.devices, model, strategy, cases)):
        at = coordinates(layout, rank)
        for (head, precision), held in zip(cases, found, strict=True):
            fullest = as_dict(states_at(job_of(model, head, precision), sizes_of(layout), at.pipeline))
            assert held["parameters"] == fullest["parameters"], (rank, head, precision)
            assert held["gradients"] == fullest["gradients"]
            if at.context == 0:
                assert held["optimizer"] == fullest["optimizer"]
            assert held["optimizer"] <= fullest["optimizer"]


def measured_llama(model, strategy, cases):
    layout, settings = Layout(ParallelStrategy.parse(strategy)), OptimizerSettings(learning_rate=1e-3)
    return [
        MegatronEngine(
            model=model, head=head, layout=layout, precision=precision, seed=0, optimizer=settings
        ).static_bytes()
        for head, precision in cases
    ]


@pytest.mark.parametrize("strategy", ["p1t2d1", "p2t1d1"])
def test_models_that_are_not_trained_hold_their_parameters_alone(models, strategy):
    layout = ParallelStrategy.parse(strategy)
    for rank, found in enumerate(run_world(measured, layout.devices, models, strategy, False)):
        for (kind, head, precision), held in zip(CASES, found, strict=True):
            stage = coordinates(layout, rank).pipeline
            job = job_of(models[kind], head, precision)
            assert held == as_dict(frozen_states(job, sizes_of(layout), stage)), (kind, head, precision)


GROUPED = ModelSpec(
    name="grouped",
    family="qwen3_moe",
    layers=4,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=32,
    ffn=128,
    vocab=128,
    moe=MoeSpec(experts=4, experts_per_token=2, expert_ffn=48, dense_layers=1),
)
LATENT = GROUPED.model_copy(
    update={
        "name": "latent",
        "family": "deepseek_v3",
        "kv_heads": 4,
        "head_dim": 48,
        "mla": MlaSpec(query_rank=48, kv_rank=32, nope_dim=32, rope_dim=16, value_dim=32),
        "moe": MoeSpec(experts=4, experts_per_token=2, expert_ffn=64, shared_ffn=96, dense_layers=1),
    }
)


EXPERT_CASES = [(head, precision) for head in ("vocabulary", "scalar") for precision in ("fp32", "bf16")]


def measured_with_experts(strategy):
    """Bytes of each case on this rank."""
    layout = Layout(strategy)
    settings = OptimizerSettings(learning_rate=1e-3)
    return [
        MegatronEngine(
            model=GROUPED, head=head, layout=layout, precision=precision, seed=0, optimizer=settings
        ).static_bytes()
        for head, precision in EXPERT_CASES
    ]


def assert_experts_equal_on_every_rank(strategy):
    layout = ParallelStrategy.parse(strategy)
    for rank, found in enumerate(run_world(measured_with_experts, layout.devices, layout)):
        at = coordinates(layout, rank)
        for (head, precision), held in zip(EXPERT_CASES, found, strict=True):
            job = job_of(GROUPED, head, precision)
            assert held == as_dict(rank_states(job, sizes_of(layout), at)), (rank, head, precision)


@pytest.mark.parametrize("strategy", EXPERT_LAYOUTS)
def test_models_with_experts_hold_what_is_predicted_on_every_rank(strategy):
    assert_experts_equal_on_every_rank(strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SLOW_EXPERT_LAYOUTS)
def test_models_with_experts_hold_what_is_predicted_in_larger_layouts(strategy):
    assert_experts_equal_on_every_rank(strategy)


@pytest.mark.parametrize("query_rank", [48, None])
def test_latent_attention_and_shared_experts_hold_what_is_predicted(query_rank):
    model = LATENT.model_copy(update={"mla": LATENT.mla.model_copy(update={"query_rank": query_rank})})
    layout = ParallelStrategy(data=2, expert=2)
    for rank, held in enumerate(run_world(experts.static_bytes, 2, model, layout)):
        at = Coordinates(pipeline=0, tensor=0, data=rank)
        job = job_of(model, "vocabulary", "bf16")
        assert held == as_dict(rank_states(job, sizes_of(layout), at)), rank
