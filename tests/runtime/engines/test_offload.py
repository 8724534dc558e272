"""Offloaded tensors wait in host memory, and training does not notice."""

from types import SimpleNamespace

import pytest
import torch

from runtime.engines.offload import Residence, Store
from runtime.engines.optimizer import OptimizerSettings, state_tensors
from tests.runtime import tiny
from tests.runtime.engines.parity import devices, engine_of, own_batches, weighted_sum
from tests.runtime.worlds import run_world

SETTINGS = OptimizerSettings(learning_rate=1e-2)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {kind: tiny.write_model(folder / kind, kind) for kind in ("llama", "qwen3_moe")}


def test_views_of_what_was_away_see_it_again():
    whole = torch.arange(6.0)
    view = whole[2:4]
    store = Store(tensors=lambda: [whole, view])
    store.send()
    assert store.is_away
    assert whole.untyped_storage().nbytes() == 0
    store.bring()
    assert view.tolist() == [2.0, 3.0]


def test_what_is_not_kept_comes_back_as_memory_alone():
    buffer = torch.ones(4)
    store = Store(tensors=lambda: [buffer], keeps=False)
    store.send()
    store.bring()
    assert buffer.zero_().tolist() == [0.0] * 4


def test_what_was_brought_stays_until_it_is_sent():
    weights = torch.ones(3)
    residence = Residence("all", {"weights": Store(tensors=lambda: [weights])})
    residence.send()
    with residence.at_hand("weights", "states"):
        assert weights.sum() == 3
    assert weights.untyped_storage().nbytes() == 0
    residence.bring("weights")
    with residence.at_hand("weights"):
        pass
    assert weights.sum() == 3


def test_main_parameters_are_states_before_there_are_moments_too():
    main = torch.ones(3, requires_grad=True)
    adam = torch.optim.AdamW([main])
    optimizer = SimpleNamespace(chained_optimizers=[SimpleNamespace(optimizer=adam)])
    (only,) = state_tensors(optimizer)
    assert only is main
    main.sum().backward()
    adam.step()
    assert len([*state_tensors(optimizer)]) == 3


def resident(engine):
    parts = (engine._weights(), engine._gradients(), engine._own_states())
    return [sum(tensor.untyped_storage().nbytes() for tensor in tensors) > 0 for tensors in parts]


def train_offloaded(model, strategy, offload, precision, folder):
    engine = engine_of(model, strategy, optimizer=SETTINGS, offload=offload, precision=precision)
    seen = [resident(engine)]
    losses = [engine.update(own_batches(engine), weighted_sum)["loss"] for _ in range(2)]
    seen.append(resident(engine))
    output = engine.forward(tiny.tokens(2, 8), micro_batch=2)
    engine.save_state(folder)
    engine.load_state(folder)
    losses.append(engine.update(own_batches(engine), weighted_sum)["loss"])
    weights = {name: weight.clone() for name, weight in engine.export()}
    seen.append(resident(engine))
    held = engine.static_bytes()
    engine.onload()
    seen.append(resident(engine))
    engine.offload()
    return losses, output, weights, held, seen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("kind", "strategy"), [("llama", "p1t1d2"), ("llama", "p1t2d1"), ("qwen3_moe", "p1t1d2e2")]
)
def test_offloading_changes_nothing_but_where_tensors_lie(models, kind, strategy, precision, tmp_path):
    arguments = (models[kind], strategy)
    run = {
        offload: run_world(
            train_offloaded, devices(strategy), *arguments, offload, precision, tmp_path / offload
        )
        for offload in ("none", "optimizer", "all")
    }
    away = {"none": [True, True, True], "optimizer": [True, True, False], "all": [False, False, False]}
    for offload, ranks in run.items():
        for (losses, output, weights, held, seen), plain in zip(ranks, run["none"], strict=True):
            assert losses == plain[0]
            assert torch.equal(output, plain[1])
            assert all(torch.equal(weights[name], weight) for name, weight in plain[2].items())
            assert held == plain[3]
            assert seen == [away[offload]] * 3 + [[True, True, True]]


def score_offloaded(model):
    engine = engine_of(model, "p1t1d1", offload="all")
    outputs = [engine.forward(tiny.tokens(2, 8), micro_batch=2) for _ in range(2)]
    return outputs, resident(engine)[0]


def test_a_model_that_only_infers_waits_as_well(models):
    ((outputs, is_resident),) = run_world(score_offloaded, 1, models["llama"])
    assert not is_resident
    expected = tiny.logprobs(tiny.network_of(models["llama"]), tiny.tokens(2, 8)).detach()
    for output in outputs:
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
