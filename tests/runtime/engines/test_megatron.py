import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from planner.domain.model import ModelSpec
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

LAYOUTS = ["p1t1d1", "p1t2d1", "p2t1d1", "p1t1d2", "p2t2d1"]
KINDS = ["llama", "qwen2", "qwen3"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, ModelSpec]:
    folder = tmp_path_factory.mktemp("models")
    kinds = [*KINDS, "llama-scalar"]
    return {kind: tiny.write_model(folder / kind, kind) for kind in kinds}


@pytest.mark.parametrize("strategy", LAYOUTS)
def test_logprobs_equal_those_of_transformers(models, strategy):
    tokens_bs = tiny.tokens(3, 10)
    ranks = run_world(forward_all, devices(strategy), [models[kind] for kind in KINDS], strategy, tokens_bs)
    for index, kind in enumerate(KINDS):
        expected = tiny.logprobs(tiny.network_of(models[kind]), tokens_bs).detach()
        outputs = [outputs[index] for outputs in ranks if outputs[index] is not None]
        assert len(outputs) == len(ranks) // ParallelStrategy.parse(strategy).pipeline
        for output in outputs:
            torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("strategy", ["p1t1d1", "p2t2d1", "p1t1d1c2"])
def test_a_temperature_divides_the_logits_of_all_but_the_batches_with_their_own(models, strategy):
    model, tokens_bs = models["qwen2"], tiny.tokens(3, 10)
    network = tiny.network_of(model)
    expected = tiny.logprobs(network, tokens_bs, temperature=0.5).detach()
    ranks = run_world(forward_all, devices(strategy), [model], strategy, tokens_bs, 0.5)
    outputs = [outputs[0] for outputs in ranks if outputs[0] is not None]
    for output in outputs:
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    loss = sum(
        (tiny.logprobs(network, batch["tokens_bs"], temperature=own) * batch["weights"]).sum()
        for batch, own in zip(micro_batches(), (1.0, 0.5, 1.0, 0.5), strict=True)
    )
    loss.backward()
    for metrics, found in run_world(step_at_two_temperatures, devices(strategy), model, strategy):
        assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
        for name, gradient in tiny.gradients(network).items():
            assert (found[name] - gradient).abs().max() < 1e-5, name


def step_at_two_temperatures(model, strategy):
    """Every other micro-batch as it is, the rest at the engine's temperature."""
    engine = engine_of(model, strategy, optimizer=UNCLIPPED, temperature=0.5)
    batches = own_batches(engine)
    for batch in batches[::2]:
        batch["temperature"] = torch.ones(())
    return engine.update(batches, weighted_sum), gradients(engine)


def step_of_a_critic(model, strategy):
    engine = engine_of(model, strategy, head="scalar", optimizer=UNCLIPPED)
    metrics = engine.update(value_batches(engine), weighted_sum)
    return metrics, gradients(engine)


def value_batches(engine):
    return [{**batch, "tokens_bs": batch["tokens_bs"][:, :-1]} for batch in own_batches(engine)]


@pytest.mark.parametrize(("strategy", "recompute"), [*((s, "none") for s in LAYOUTS), ("p2t2d1", "full")])
def test_losses_and_gradients_equal_those_of_transformers(models, strategy, recompute):
    chosen = [models[kind] for kind in KINDS]
    ranks = run_world(step_all, devices(strategy), chosen, strategy, {"recompute": recompute})
    assert_steps_equal_those_of_transformers(chosen, ranks)


@pytest.mark.parametrize("strategy", ["p1t2d1", "p2t1d2"])
def test_a_critic_learns_as_in_transformers(models, strategy):
    model = models["llama-scalar"]
    network = tiny.network_of(model, scalar=True)
    loss = sum(
        (values_of(network, batch["tokens_bs"][:, :-1]) * batch["weights"]).sum() for batch in micro_batches()
    )
    loss.backward()
    for metrics, found in run_world(step_of_a_critic, devices(strategy), model, strategy):
        assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-5)
        for name, parameter in network.named_parameters():
            assert (found[name] - parameter.grad).abs().max() < 1e-5, name


def values_of(network, tokens_bs):
    return network.score(network.model(tokens_bs).last_hidden_state).squeeze(-1)


def test_the_distributed_optimizer_gives_the_same_weights_in_less_memory(models):
    model = models["llama"]
    whole, whole_bytes = run_world(train, 1, model, "p1t1d1", SMOOTH)[0]
    sliced = replace(SMOOTH, distributed=True)
    for strategy in ("p1t1d2", "p2t1d2"):
        for weights, rank_bytes in run_world(train, devices(strategy), model, strategy, sliced):
            assert weights.keys() == whole.keys()
            for name, weight in whole.items():
                torch.testing.assert_close(weights[name], weight, atol=1e-5, rtol=0)
            assert rank_bytes["optimizer"] < 0.6 * whole_bytes["optimizer"]


def test_static_bytes_count_parameters_gradients_and_both_moments(models):
    model = models["llama"]
    _, held = run_world(train, 1, model, "p1t1d1", UNCLIPPED)[0]
    size = 4 * model.parameters()
    assert held["parameters"] == size
    assert held["gradients"] == pytest.approx(size, rel=0.01)
    assert held["optimizer"] == pytest.approx(2 * size, rel=0.01)


def train_on_one_replica_only(model, strategy):
    engine = engine_of(model, strategy, optimizer=UNCLIPPED)
    batches = micro_batches() if engine.layout.at.data == 0 else []
    metrics = engine.update(batches, weighted_sum)
    outputs = engine.forward(tiny.tokens(0 if engine.layout.at.data else 2, 8), micro_batch=2)
    return metrics, dict(engine.export()), outputs


def test_a_replica_without_samples_takes_part_in_the_step(models):
    (expected, weights, _), *_ = run_world(train_on_one_replica_only, 1, models["qwen3"], "p1t1d1")
    ranks = run_world(train_on_one_replica_only, 2, models["qwen3"], "p1t1d2")
    assert [tuple(outputs.shape) for _, _, outputs in ranks] == [(2, 7), (0, 7)]
    for metrics, found, _ in ranks:
        assert metrics == pytest.approx(expected)
        for name, weight in weights.items():
            torch.testing.assert_close(found[name], weight, atol=1e-5, rtol=0)


def values_and_save(model, strategy, tokens_bs, folder, settings):
    engine = engine_of(model, strategy, head="scalar", optimizer=settings)
    values = engine.forward(tokens_bs, micro_batch=2)
    engine.save(folder, model.folder)
    return values


@pytest.mark.parametrize("strategy", ["p1t1d1", "p2t2d1"])
def test_a_reward_model_scores_as_transformers_does_and_is_saved_as_one(models, strategy, tmp_path):
    model, tokens_bs = models["llama-scalar"], tiny.tokens(3, 10)
    folder = tmp_path / "saved"
    *_, values = run_world(values_and_save, devices(strategy), model, strategy, tokens_bs, folder, None)
    network = tiny.network_of(model, scalar=True)
    torch.testing.assert_close(values, values_of(network, tokens_bs).detach(), atol=1e-5, rtol=0)
    saved = tiny.network_of(model.model_copy(update={"folder": str(folder)}), scalar=True)
    assert torch.equal(saved.score.weight, network.score.weight)


def test_a_critic_starts_from_a_language_model_with_a_head_of_its_seed(models, tmp_path):
    model, tokens_bs = models["qwen3"], tiny.tokens(3, 10)
    (single,) = run_world(values_and_save, 1, model, "p1t1d1", tokens_bs, tmp_path / "single", UNCLIPPED)
    *_, layered = run_world(values_and_save, 4, model, "p2t2d1", tokens_bs, tmp_path / "layered", UNCLIPPED)
    assert single.abs().max() > 0.1
    torch.testing.assert_close(layered, single, atol=1e-5, rtol=0)
    config = json.loads((tmp_path / "single/config.json").read_text())
    assert config["architectures"] == ["Qwen3ForSequenceClassification"]
    assert len(config["id2label"]) == 1


def test_a_language_model_is_no_reward_model(models, tmp_path):
    with pytest.raises(WorldError, match=r"SpecError: .*has no score\.weight"):
        run_world(values_and_save, 1, models["llama"], "p1t1d1", tiny.tokens(1, 4), tmp_path / "x", None)


def save_all(models, strategy, folder):
    for model in models:
        engine_of(model, strategy).save(folder / model.name, model.folder)


@pytest.mark.parametrize("strategy", ["p1t1d1", "p2t2d1"])
def test_saved_folders_hold_what_was_loaded(models, strategy, tmp_path):
    chosen = [models[kind] for kind in KINDS]
    run_world(save_all, devices(strategy), chosen, strategy, tmp_path)
    for model in chosen:
        original = tiny.network_of(model).state_dict()
        saved = tiny.network_of(model.model_copy(update={"folder": str(tmp_path / model.name)})).state_dict()
        assert saved.keys() == original.keys()
        assert all(torch.equal(saved[name], weight) for name, weight in original.items())
        assert (tmp_path / model.name / "tokenizer_config.json").exists()
    assert not list(tmp_path.glob("*.partial"))


def train_two_at_once(model):
    first = engine_of(model, "p1t2d1", optimizer=SMOOTH)
    second = engine_of(model, "p2t1d1", optimizer=SMOOTH)
    for _ in range(3):
        first.update(micro_batches(), weighted_sum)
        second.update(micro_batches(), weighted_sum)
    return dict(first.export()), dict(second.export())


def test_engines_of_two_layouts_live_in_one_process(models):
    expected, _ = run_world(train, 1, models["llama"], "p1t1d1", SMOOTH)[0]
    for both in run_world(train_two_at_once, 2, models["llama"]):
        for weights in both:
            for name, weight in expected.items():
                torch.testing.assert_close(weights[name], weight, atol=1e-5, rtol=0)


def test_stages_may_differ_in_their_layers(tmp_path):
    model, tokens_bs = tiny.write_model(tmp_path / "three", "llama", layers=3), tiny.tokens(2, 8)
    expected = tiny.logprobs(tiny.network_of(model), tokens_bs).detach()
    *_, ((found,), layers) = run_world(forward_uneven, 2, model, tokens_bs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert layers == 1


def forward_uneven(model, tokens_bs):
    engine = engine_of(model, "p2t1d1")
    return [engine.forward(tokens_bs, micro_batch=2)], len(engine._bare_chunks()[0].decoder.layers)


def train_in_bf16(model, strategy):
    engine = engine_of(
        model, strategy, precision="bf16", optimizer=OptimizerSettings(learning_rate=1e-3, gradient_clip=1.0)
    )
    losses = [engine.update(own_batches(engine), weighted_sum)["loss"] for _ in range(4)]
    return losses, engine.forward(tiny.tokens(2, 8), micro_batch=2), engine.static_bytes()


def test_bf16_trains_with_an_fp32_master_copy(models):
    model = models["llama"]
    ((losses, output, held),) = run_world(train_in_bf16, 1, model, "p1t1d1")
    assert output.dtype == torch.float32
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert held["parameters"] == 2 * 102784  # 102,720 and what rounds the buffer up to a multiple of 128
    assert held["optimizer"] == 12 * model.parameters()
    for found, *_ in run_world(train_in_bf16, 2, model, "p1t1d2"):
        assert found == pytest.approx(losses, abs=0.02)


def save_state_after_two_steps(model, strategy, folder):
    engine = engine_of(model, strategy, head="scalar", optimizer=OptimizerSettings(learning_rate=1e-2))
    for _ in range(2):
        engine.update(value_batches(engine), weighted_sum)
    engine.save_state(folder)
    return [engine.update(value_batches(engine), weighted_sum)["loss"] for _ in range(2)]


def go_on_from_state(model, strategy, folder):
    engine = engine_of(model, strategy, head="scalar", optimizer=OptimizerSettings(learning_rate=1e-2))
    engine.load_state(folder)
    return [engine.update(value_batches(engine), weighted_sum)["loss"] for _ in range(2)]


def test_training_goes_on_from_a_saved_state_also_in_another_layout(models, tmp_path):
    model = models["llama"]
    expected = run_world(save_state_after_two_steps, 2, model, "p1t2d1", tmp_path / "state")[0]
    for strategy in ("p1t2d1", "p2t1d1", "p1t1d2"):
        for found in run_world(go_on_from_state, 2, model, strategy, tmp_path / "state"):
            assert found == pytest.approx(expected, abs=1e-5)


def diverge(model):
    engine = engine_of(model, "p1t1d1", optimizer=UNCLIPPED)
    engine.update(micro_batches(), lambda output, _: ((output * torch.inf).sum(), {}))


def test_a_gradient_that_is_not_finite_stops_the_run(models):
    with pytest.raises(WorldError, match="FloatingPointError: llama: the gradient norm is"):
        run_world(diverge, 1, models["llama"])


def test_layouts_that_do_not_divide_the_model_are_refused_by_field(tmp_path):
    model = tiny.write_model(tmp_path / "llama", "llama", kv_heads=1)
    with pytest.raises(WorldError, match=r"PlanMismatchError: .*tensor=2 does not divide kv_heads=1"):
        run_world(forward_all, 2, [model], "p1t2d1", tiny.tokens(1, 4))
    with pytest.raises(WorldError, match=r"PlanMismatchError: strategy p1t1d2 takes 2 ranks, the pool has 1"):
        run_world(forward_all, 1, [model], "p1t1d2", tiny.tokens(1, 4))
