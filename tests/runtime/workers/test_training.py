"""Updates: what is learnt does not depend on how the samples are spread."""

import pytest
import torch

from planner.domain.algorithm import PpoOptions
from planner.domain.parallelism import ParallelStrategy
from runtime.engines.optimizer import OptimizerSettings
from runtime.transfer import Ranks, distribute_mini_batches, three_d_proto
from runtime.workers.call import Call
from runtime.workers.objectives import policy_objective, value_objective
from runtime.workers.training import Counts, MicroBatchSize, sample_lengths, update
from tests.runtime import tiny
from tests.runtime.engines.parity import engine_of
from tests.runtime.worlds import run_world

SAMPLES, TOKENS, MINI_BATCHES = 7, 10, 2


def batch():
    """Samples of different lengths with made-up advantages."""
    generator = torch.Generator().manual_seed(3)
    starts = torch.tensor([2, 3, 4, 2, 5, 3, 2])
    stops = torch.tensor([10, 5, 9, 4, 8, 10, 7])
    positions = torch.arange(TOKENS)
    mask = (positions >= starts[:, None]) & (positions < stops[:, None])
    noise = [torch.randn(SAMPLES, TOKENS - 1, generator=generator) for _ in range(4)]
    return {
        "tokens": tiny.tokens(SAMPLES, TOKENS),
        "response_mask": mask,
        "old_logprobs": noise[0] / 10 - 4.8,
        "advantages": noise[1],
        "old_values": noise[2] / 10,
        "returns": noise[3],
    }


def cut(layout, count):
    """Numbers of so many samples or documents, by rank and mini-batch."""
    ranks = Ranks(layout=ParallelStrategy.parse(layout))
    return distribute_mini_batches(three_d_proto, [1] * count, mini_batches=MINI_BATCHES, ranks=ranks)


def share_of(model, layout, head, samples):
    """An engine, and this rank's rows and fields of the batch."""
    engine = engine_of(model, layout, head=head, optimizer=OptimizerSettings(learning_rate=1e-3))
    rows = cut(layout, samples)[engine.layout.rank]
    index = [row for piece in rows for row in piece]
    return engine, rows, {name: field[index] for name, field in batch().items()}


def updated(model, layout, micro_batch, aggregation, head, token_budget=None, samples=SAMPLES):
    """Metrics of one update on this rank's share of the batch."""
    engine, rows, fields = share_of(model, layout, head, samples)
    options = PpoOptions(aggregation=aggregation)
    return update(
        engine,
        Call(name="update", role="actor", method="update", iteration=0, rows=rows),
        fields,
        epochs=2,
        size=MicroBatchSize(rows=micro_batch, tokens=token_budget),
        loss=policy_objective(options) if head == "vocabulary" else value_objective(options),
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("llama"), "llama")


@pytest.mark.parametrize("head", ["vocabulary", "scalar"])
@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean"])
def test_replicas_and_micro_batches_never_change_what_is_learnt(llama, head, aggregation):
    (whole,) = run_world(updated, 1, llama, "p1t1d1", 8, aggregation, head)
    assert whole["grad_norm"] > 0
    for layout, micro_batch in (("p1t1d2", 1), ("p1t2d1", 3), ("p2t1d1", 2)):
        ranks = run_world(updated, 2, llama, layout, micro_batch, aggregation, head)
        assert ranks[0] == ranks[1]
        for name, value in whole.items():
            assert ranks[0][name] == pytest.approx(value, rel=2e-4, abs=2e-6), (layout, name)


@pytest.mark.parametrize("head", ["vocabulary", "scalar"])
@pytest.mark.parametrize("layout", ["p1t1d1", "p1t1d2", "p1t1d1c2", "p1t2d1", "p2t1d1v2"])
def test_token_budgets_and_layouts_never_change_what_is_learnt(deep, head, layout):
    ranks = ParallelStrategy.parse(layout).devices
    (whole,) = run_world(updated, 1, deep, "p1t1d1", 8, "seq-mean-token-mean", head)
    for budget in (1, 12, 1000):
        for found in run_world(updated, ranks, deep, layout, 1, "seq-mean-token-mean", head, budget):
            assert found.keys() == whole.keys()
            for name, value in whole.items():
                assert found[name] == pytest.approx(value, rel=2e-4, abs=2e-6), (budget, name)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("deep"), "llama", layers=4)


@pytest.mark.parametrize("samples", [2, 3])
def test_replicas_without_a_sample_in_a_mini_batch_take_its_step(llama, samples):
    """Of two or three samples in two mini-batches one of two replicas has none in one."""
    arguments = ("token-mean", "vocabulary", None, samples)
    (whole,) = run_world(updated, 1, llama, "p1t1d1", 8, *arguments)
    for found in run_world(updated, 2, llama, "p1t1d2", 1, *arguments):
        for name, value in whole.items():
            assert found[name] == pytest.approx(value, rel=2e-4, abs=2e-6), name


DOCUMENTS = [[5, 6, 7, 8, 9], [10], [11, 12], [13, 14, 15], [16, 17, 18, 19, 20, 21, 22]]


def with_pretraining(model, layout, micro_batch, token_budget, has_samples):
    """Metrics of an update that learns from documents too, by a loss of its own; and all counts it saw."""
    engine, rows, fields = share_of(model, layout, "vocabulary", SAMPLES)
    if not has_samples:
        fields["response_mask"] = torch.zeros_like(fields["response_mask"])
    seen: set[Counts] = set()

    def loss(logprobs_bt, part, counts):
        seen.add(counts)
        if "pretraining_mask" in part:
            assert part["temperature"] == 1
            mask = part["pretraining_mask"][:, 1:]
            share = -(logprobs_bt * mask).sum() / counts.pretraining_tokens
            return share, {"ptx": share.detach().clone(), "tokens": mask.sum()}
        share = -(logprobs_bt * part["response_mask"][:, 1:]).sum() / counts.tokens
        return share, {"nll": share.detach().clone()}

    numbers = cut(layout, len(DOCUMENTS))[engine.layout.rank]
    metrics = update(
        engine,
        Call(name="update", role="actor", method="update", iteration=0, rows=rows, pretraining=numbers),
        fields | {"pretraining": [DOCUMENTS[number] for piece in numbers for number in piece]},
        epochs=1,
        size=MicroBatchSize(rows=micro_batch, tokens=token_budget),
        loss=loss,
    )
    return metrics, seen


def test_pretraining_data_is_spread_over_the_mini_batches_and_learnt_from_beside_the_samples(llama):
    ((whole, counts),) = run_world(with_pretraining, 1, llama, "p1t1d1", 8, None, True)
    tokens = sum(len(document) - 1 for document in DOCUMENTS)
    assert whole["tokens"] * MINI_BATCHES == tokens
    assert sum(count.pretraining_tokens for count in counts) == tokens
    assert whole["ptx"] > 0
    assert whole["nll"] > 0
    for layout, micro_batch, budget in (
        ("p1t1d1", 1, None),
        ("p1t2d1", 1, 6),
        ("p1t1d1c2", 2, None),
        ("p1t1d2", 1, None),
    ):
        ranks = ParallelStrategy.parse(layout).devices
        for found, seen in run_world(with_pretraining, ranks, llama, layout, micro_batch, budget, True):
            assert seen == counts, layout
            for name, value in whole.items():
                assert found[name] == pytest.approx(value, rel=2e-4, abs=2e-6), (layout, name)


def test_mini_batches_without_a_response_token_learn_from_pretraining_data_alone(llama):
    for found, counts in run_world(with_pretraining, 2, llama, "p1t1d2", 1, None, False):
        assert "nll" not in found
        assert found["ptx"] > 0
        assert {count.tokens for count in counts} == {0}


def without_anything(model):
    engine = engine_of(model, "p1t1d1", optimizer=OptimizerSettings(learning_rate=1e-3))
    fields = batch() | {"response_mask": torch.zeros(SAMPLES, TOKENS, dtype=torch.bool)}
    call = Call(name="update", role="actor", method="update", iteration=0, rows=(range(SAMPLES),))
    loss = policy_objective(PpoOptions())
    return update(engine, call, fields, epochs=1, size=MicroBatchSize(rows=2), loss=loss)


def test_a_mini_batch_with_nothing_to_learn_from_is_no_step(llama):
    assert run_world(without_anything, 1, llama) == [{}]


def test_rows_end_behind_their_last_response_token():
    lengths = [10, 5, 9, 4, 8, 10, 7]
    assert sample_lengths(batch()["response_mask"]) == lengths
