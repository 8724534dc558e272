"""Models with experts compute what transformers' do, also with the experts spread over ranks."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from megatron.core import parallel_state

from planner.domain.parallelism import ParallelStrategy, coordinates, expert_coordinate
from runtime.engines.layout import Layout
from runtime.engines.optimizer import OptimizerSettings
from tests.runtime import tiny
from tests.runtime.engines.parity import (
    SMOOTH,
    assert_steps_equal_those_of_transformers,
    devices,
    engine_of,
    forward_all,
    micro_batches,
    step_all,
    train,
    weighted_sum,
)
from tests.runtime.worlds import WorldError, run_world

LAYOUTS = ["p1t1d1", "p1t1d2e2", "p1t2d1", "p1t2d2e2", "p1t1d1c2e2", "p2t1d2e2"]
SLOW_LAYOUTS = ["p1t1d2c2e4", "p2t1d2e2v2", "p2t2d2e2", "p2t1d2c2e4"]
DISTRIBUTED = replace(SMOOTH, distributed=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Experts in all layers; a dense layer first and weights that don't add up to one."""
    folder = tmp_path_factory.mktemp("models")
    return [
        tiny.write_model(folder / "all", "qwen3_moe", layers=4),
        tiny.write_model(folder / "mixed", "qwen3_moe", layers=4, dense_layers=1, normalized=False, seed=1),
    ]


@pytest.mark.parametrize("strategy", LAYOUTS)
def test_logprobs_equal_those_of_transformers(models, strategy):
    tokens_bs = tiny.tokens(3, 10)
    ranks = run_world(forward_all, devices(strategy), models, strategy, tokens_bs)
    for index, model in enumerate(models):
        expected = tiny.logprobs(tiny.network_of(model), tokens_bs).detach()
        outputs = [outputs[index] for outputs in ranks if outputs[index] is not None]
        assert outputs
        for output in outputs:
            torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("strategy", LAYOUTS)
def test_losses_and_gradients_equal_those_of_transformers(models, strategy):
    ranks = run_world(step_all, devices(strategy), models, strategy)
    assert_steps_equal_those_of_transformers(models, ranks)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SLOW_LAYOUTS)
def test_losses_and_gradients_equal_those_of_transformers_in_larger_layouts(models, strategy):
    ranks = run_world(step_all, devices(strategy), models, strategy)
    assert_steps_equal_those_of_transformers(models, ranks)


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputed_activations_change_no_gradient(models, recompute):
    ranks = run_world(step_all, 4, models, "p1t2d2e2", {"recompute": recompute})
    assert_steps_equal_those_of_transformers(models, ranks)


@pytest.mark.parametrize("strategy", ["p1t1d2e2", "p1t2d2e2", "p2t1d2e2", "p1t1d1c2e2"])
def test_the_distributed_optimizer_gives_the_same_weights(models, strategy):
    whole, _ = run_world(train, 1, models[1], "p1t1d1", SMOOTH)[0]
    for weights, _ in run_world(train, devices(strategy), models[1], strategy, DISTRIBUTED):
        assert weights.keys() == whole.keys()
        for name, weight in whole.items():
            torch.testing.assert_close(weights[name], weight, atol=5e-5, rtol=0)


def train_on_the_first_replica_only(model, strategy):
    engine = engine_of(model, strategy, optimizer=SMOOTH)
    is_first = engine.layout.at.data == 0
    metrics = engine.update(micro_batches() if is_first else [], weighted_sum)
    outputs = engine.forward(tiny.tokens(3 * is_first, 8), micro_batch=1)
    return metrics, dict(engine.export()), outputs


@pytest.mark.parametrize("strategy", ["p1t1d2e2", "p1t2d2e2", "p2t1d2e2"])
def test_ranks_that_share_experts_run_as_many_micro_batches_as_each_other(models, strategy):
    model = models[1]
    ((expected, weights, whole),) = run_world(train_on_the_first_replica_only, 1, model, "p1t1d1")
    for metrics, found, outputs in run_world(
        train_on_the_first_replica_only, devices(strategy), model, strategy
    ):
        assert metrics == pytest.approx(expected, rel=1e-4)
        if outputs is not None and len(outputs):
            torch.testing.assert_close(outputs, whole, atol=1e-4, rtol=0)
        for name, weight in weights.items():
            torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=0)


def save_all(models, strategy, folder):
    for number, model in enumerate(models):
        engine_of(model, strategy).save(folder / str(number), model.folder)


@pytest.mark.parametrize("strategy", ["p1t1d1", "p1t2d2e2", "p2t1d2e2"])
def test_saved_folders_hold_what_was_loaded(models, strategy, tmp_path):
    run_world(save_all, devices(strategy), models, strategy, tmp_path)
    for number, model in enumerate(models):
        original = tiny.network_of(model).state_dict()
        copy = model.model_copy(update={"folder": str(tmp_path / str(number))})
        saved = tiny.network_of(copy).state_dict()
        assert saved.keys() == original.keys()
        assert all(torch.equal(saved[name], weight) for name, weight in original.items())


SETTINGS = OptimizerSettings(learning_rate=1e-2)


def losses(engine, steps):
    at, count = engine.layout.at.data, engine.layout.strategy.data
    return [engine.update(micro_batches()[at::count], weighted_sum)["loss"] for _ in range(steps)]


def save_state_after_two_steps(model, strategy, folder):
    engine = engine_of(model, strategy, optimizer=SETTINGS)
    losses(engine, 2)
    engine.save_state(folder)
    return losses(engine, 2)


def go_on_from_state(model, strategy, folder):
    engine = engine_of(model, strategy, optimizer=SETTINGS)
    engine.load_state(folder)
    return losses(engine, 2)


@pytest.mark.parametrize("written", ["p1t1d2e2", "p1t2d1"])
def test_training_goes_on_from_a_saved_state_with_the_experts_spread_otherwise(models, tmp_path, written):
    model, folder = models[1], tmp_path / "state"
    expected = run_world(save_state_after_two_steps, 2, model, written, folder)[0]
    for strategy in ("p1t1d2e2", "p1t1d1", "p1t2d2e2", "p1t1d1c2e2"):
        for found in run_world(go_on_from_state, devices(strategy), model, strategy, folder):
            assert found == pytest.approx(expected, abs=1e-5)


def expert_ranks(strategies):
    found = []
    for layout in [Layout(ParallelStrategy.parse(strategy)) for strategy in strategies]:
        with layout:
            group = parallel_state.get_expert_model_parallel_group()
        found.append(dist.get_process_group_ranks(group))
    return found


def test_megatron_spreads_experts_over_the_ranks_that_the_domain_says():
    strategies = ["p1t1d4e2", "p1t2d2e2", "p2t1d2e2", "p1t1d2c2e4", "p1t1d2c2e2"]
    for rank, of_strategies in enumerate(run_world(expert_ranks, 4, strategies)):
        for text, ranks in zip(strategies, of_strategies, strict=True):
            strategy = ParallelStrategy.parse(text)
            parts = [expert_coordinate(strategy, coordinates(strategy, each)) for each in ranks]
            assert rank in ranks
            assert parts == list(range(strategy.expert)), text


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("p1t1d3e3", "expert=3 does not divide moe.experts=4"),
        ("p2t1d1c2", "pipeline=2 with context=2 of a model with experts only where those are spread"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_name(models, strategy, message):
    with pytest.raises(WorldError, match=f"PlanMismatchError: .*{message}"):
        run_world(engine_of, devices(strategy), models[0], strategy)
