"""Sequence parallelism, interleaved stages and context parallelism change nothing that is computed."""

from dataclasses import replace

import pytest
import torch
from megatron.core.utils import unwrap_model

from planner.domain.parallelism import ParallelStrategy
from runtime.engines.optimizer import OptimizerSettings
from tests.runtime import tiny
from tests.runtime.engines.parity import (
    SMOOTH,
    UNCLIPPED,
    assert_steps_equal_those_of_transformers,
    devices,
    engine_of,
    forward_all,
    gradients,
    micro_batches,
    own_batches,
    step_all,
    train,
    weighted_sum,
)
from tests.runtime.worlds import WorldError, run_world

DISTRIBUTED = replace(SMOOTH, distributed=True)
KINDS = ["llama", "qwen2", "qwen3"]
DEEP = {"p2t1d1v2": 5, "p2t1d2v2": 4, "p2t2d1v2": 6, "p4t1d1v2": 8, "p2t2d2v2": 4}
"""Layers for interleaved stages; five and six make chunks that differ."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        (kind, layers): tiny.write_model(folder / f"{kind}-{layers}", kind, layers=layers)
        for kind in KINDS
        for layers in {2, *DEEP.values()}
    }


def of(models, layers):
    return [models[kind, layers] for kind in KINDS]


def assert_parity(models, strategy, **options):
    ranks = run_world(step_all, devices(strategy), models, strategy, options)
    assert_steps_equal_those_of_transformers(models, ranks)


@pytest.mark.parametrize("strategy", ["p1t1d1c2", "p1t2d1c2", "p2t1d1c2", "p1t1d2c2", "p1t1d1c4"])
def test_context_parallel_ranks_learn_what_one_learns(models, strategy):
    assert_parity(of(models, 2), strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["p2t2d1c2", "p1t2d2c2", "p2t1d2c2", "p1t2d1c4"])
def test_context_parallel_ranks_learn_what_one_learns_in_larger_layouts(models, strategy):
    assert_parity(of(models, 2), strategy)


@pytest.mark.parametrize("strategy", ["p2t1d1v2", "p2t1d2v2", "p2t2d1v2"])
def test_interleaved_stages_learn_what_plain_ones_learn(models, strategy):
    assert_parity(of(models, DEEP[strategy]), strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["p4t1d1v2", "p2t2d2v2"])
def test_interleaved_stages_learn_what_plain_ones_learn_in_larger_layouts(models, strategy):
    assert_parity(of(models, DEEP[strategy]), strategy)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["p2t2d2", "p1t2d4", "p2t1d4"])
def test_eight_ranks_learn_what_one_learns(models, strategy):
    assert_parity(of(models, 2), strategy)


@pytest.mark.parametrize(
    ("strategy", "recompute"),
    [("p1t2d1", "selective"), ("p1t1d1c2", "selective"), ("p2t1d1v2", "full"), ("p1t2d1c2", "full")],
)
def test_recomputed_activations_change_no_gradient(models, strategy, recompute):
    assert_parity(of(models, DEEP.get(strategy, 2)), strategy, recompute=recompute)


@pytest.mark.parametrize("strategy", ["p1t2d1", "p1t2d1c2", "p2t2d1"])
def test_without_sequence_parallelism_ranks_learn_the_same(models, strategy):
    assert_parity(of(models, 2), strategy, sequence_parallel=False)


def sequence_parallel_of(model, sequence_parallel):
    engine = engine_of(model, "p1t2d1", sequence_parallel=sequence_parallel)
    return unwrap_model(engine._chunks[0]).config.sequence_parallel


def test_activations_are_cut_where_the_stack_says_so_and_always_with_experts(models, tmp_path):
    experts = tiny.write_model(tmp_path / "experts", "qwen3_moe")
    for model, given, expected in (
        (models["llama", 2], True, True),
        (models["llama", 2], False, False),
        (experts, False, True),
    ):
        assert run_world(sequence_parallel_of, 2, model, given) == [expected] * 2


def forward_without_padding(model, strategy, rows, lengths, budget):
    engine = engine_of(model, strategy)
    return engine.forward(rows, micro_batch=1, lengths=lengths, token_budget=budget)


@pytest.mark.parametrize("strategy", ["p1t1d1", "p1t2d1", "p1t1d1c2", "p2t1d1"])
@pytest.mark.parametrize("budget", [None, 1, 16, 1000])
def test_rows_come_back_in_their_order_without_what_lies_behind_them(models, strategy, budget):
    model, lengths = models["qwen3", 2], [5, 11, 2, 9, 7]
    tokens_bs = tiny.tokens(5, 11)
    whole = tiny.logprobs(tiny.network_of(model), tokens_bs).detach()
    *_, found = run_world(
        forward_without_padding, devices(strategy), model, strategy, tokens_bs, lengths, budget
    )
    assert found.shape == whole.shape
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, : length - 1], whole[row, : length - 1], atol=1e-5, rtol=0)
    assert not found[2, 10:].any()


@pytest.mark.parametrize("strategy", ["p1t2d1", "p1t1d1c2", "p1t2d1c2", "p2t1d1c2"])
def test_sequences_of_any_length_are_padded_out_of_sight(models, strategy):
    chosen = of(models, 2)
    for length in (2, 7, 8):
        tokens_bs = tiny.tokens(3, length)
        ranks = run_world(forward_all, devices(strategy), chosen, strategy, tokens_bs)
        for index, model in enumerate(chosen):
            expected = tiny.logprobs(tiny.network_of(model), tokens_bs).detach()
            outputs = [outputs[index] for outputs in ranks if outputs[index] is not None]
            assert len(outputs) == len(ranks) // ParallelStrategy.parse(strategy).pipeline
            for output in outputs:
                torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("strategy", ["p1t1d1c2", "p1t2d1c2", "p2t1d1v2", "p1t1d2c2"])
def test_weights_after_three_steps_are_the_same(models, strategy):
    model = models["qwen3", DEEP.get(strategy, 2)]
    whole, _ = run_world(train, 1, model, "p1t1d1", SMOOTH)[0]
    for weights, _ in run_world(train, devices(strategy), model, strategy, DISTRIBUTED):
        assert weights.keys() == whole.keys()
        for name, weight in whole.items():
            torch.testing.assert_close(weights[name], weight, atol=1e-5, rtol=0)


def critic_step(model, strategy):
    engine = engine_of(model, strategy, head="scalar", optimizer=UNCLIPPED)
    batches = [{**batch, "tokens_bs": batch["tokens_bs"][:, :-1]} for batch in own_batches(engine)]
    metrics = engine.update(batches, weighted_sum)
    return metrics, gradients(engine)


@pytest.mark.parametrize("strategy", ["p1t2d1", "p1t1d1c2", "p1t2d1c2", "p2t1d1v2"])
def test_a_critic_learns_as_in_transformers_in_every_layout(tmp_path, strategy):
    model = tiny.write_model(tmp_path / "critic", "llama-scalar", layers=DEEP.get(strategy, 2))
    network = tiny.network_of(model, scalar=True)
    loss = sum(
        (
            network.score(network.model(batch["tokens_bs"][:, :-1]).last_hidden_state)[..., 0]
            * batch["weights"]
        ).sum()
        for batch in micro_batches()
    )
    loss.backward()
    for metrics, found in run_world(critic_step, devices(strategy), model, strategy):
        assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
        for name, parameter in network.named_parameters():
            assert (found[name] - parameter.grad).abs().max() < 1e-5, name


def train_on_one_replica_only(model, strategy):
    engine = engine_of(model, strategy, optimizer=SMOOTH)
    has_rows = engine.layout.at.data == 0
    metrics = engine.update(micro_batches() if has_rows else [], weighted_sum)
    return metrics, dict(engine.export()), engine.forward(tiny.tokens(2 * has_rows, 8), micro_batch=2)


@pytest.mark.parametrize("strategy", ["p2t1d2v2", "p1t1d2c2", "p1t2d2"])
def test_a_replica_without_samples_takes_part_in_every_layout(models, strategy):
    model = models["qwen3", DEEP.get(strategy, 2)]
    ((expected, weights, _),) = run_world(train_on_one_replica_only, 1, model, "p1t1d1")
    for metrics, found, outputs in run_world(train_on_one_replica_only, devices(strategy), model, strategy):
        assert metrics == pytest.approx(expected, rel=1e-4)
        assert outputs is None or len(outputs) in (0, 2)
        for name, weight in weights.items():
            torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("p1t1d1v2", "virtual=2 interleaves pipeline stages, and pipeline=1"),
        ("p2t1d1v2", r"pipeline x virtual = 4 chunks exceed layers=2"),
        ("p1t1d2e2", "expert=2, and llama has no experts"),
        ("p2t1d1e2", "expert=2 does not divide data x context = 1"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_name(models, strategy, message):
    with pytest.raises(WorldError, match=f"PlanMismatchError: .*{message}"):
        run_world(engine_of, devices(strategy), models["llama", 2], strategy)


SETTINGS = OptimizerSettings(learning_rate=1e-2)


def losses(engine):
    return [engine.update(own_batches(engine), weighted_sum)["loss"] for _ in range(2)]


def save_state_after_two_steps(model, strategy, folder):
    engine = engine_of(model, strategy, optimizer=SETTINGS)
    losses(engine)
    engine.save_state(folder)
    return losses(engine)


def go_on_from_state(model, strategy, folder):
    engine = engine_of(model, strategy, optimizer=SETTINGS)
    engine.load_state(folder)
    return losses(engine)


@pytest.mark.parametrize("written", ["p2t1d1v2", "p1t1d1c2"])
def test_training_goes_on_from_a_saved_state_in_any_other_layout(models, tmp_path, written):
    model = models["qwen3", 4]
    expected = run_world(save_state_after_two_steps, 2, model, written, tmp_path / "state")[0]
    for strategy in ("p2t1d1v2", "p2t1d1", "p1t1d1c2", "p1t2d1"):
        for found in run_world(go_on_from_state, 2, model, strategy, tmp_path / "state"):
            assert found == pytest.approx(expected, abs=1e-5)


def save_all(models, strategy, folder):
    for model in models:
        engine_of(model, strategy).save(folder / model.name, model.folder)


@pytest.mark.parametrize("strategy", ["p2t1d1v2", "p1t2d1c2"])
def test_saved_folders_hold_what_was_loaded(models, strategy, tmp_path):
    chosen = of(models, 5)
    run_world(save_all, devices(strategy), chosen, strategy, tmp_path)
    for model in chosen:
        original = tiny.network_of(model).state_dict()
        saved = tiny.network_of(model.model_copy(update={"folder": str(tmp_path / model.name)})).state_dict()
        assert saved.keys() == original.keys()
        assert all(torch.equal(saved[name], weight) for name, weight in original.items())


def train_in_bf16(model, strategy):
    engine = engine_of(
        model, strategy, precision="bf16", optimizer=OptimizerSettings(learning_rate=1e-3, gradient_clip=1.0)
    )
    return [engine.update(own_batches(engine), weighted_sum)["loss"] for _ in range(4)]


@pytest.mark.parametrize("strategy", ["p1t2d1", "p1t1d1c2", "p2t1d1v2"])
def test_bf16_trains_alike_in_every_layout(models, strategy):
    model = models["llama", 4]
    (expected,) = run_world(train_in_bf16, 1, model, "p1t1d1")
    assert expected[-1] < expected[0]
    for found in run_world(train_in_bf16, devices(strategy), model, strategy):
        assert found == pytest.approx(expected, abs=0.03)
