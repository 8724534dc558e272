"""Updates: what is learnt does not depend on how the samples are spread."""

import pytest
import torch

from planner.domain.algorithm import PpoOptions
from planner.domain.parallelism import ParallelStrategy
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from runtime.transfer import Ranks, distribute_mini_batches, three_d_proto
from runtime.workers.call import Call
from runtime.workers.objectives import policy_objective, value_objective
from runtime.workers.training import update
from tests.runtime import tiny
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


def updated(model, layout, micro_batch, aggregation, head):
    """Metrics of one update on this rank's share of the batch."""
    strategy = ParallelStrategy.parse(layout)
    engine = MegatronEngine(
        model=model,
        head=head,
        layout=Layout(strategy),
        precision="fp32",
        seed=0,
        optimizer=OptimizerSettings(learning_rate=1e-3),
    )
    engine.load(model.folder)
    pieces = distribute_mini_batches(
        three_d_proto, SAMPLES, mini_batches=MINI_BATCHES, ranks=Ranks(layout=strategy)
    )
    rows = pieces[engine.layout.rank]
    index = [row for piece in rows for row in piece]
    options = PpoOptions(aggregation=aggregation)
    return update(
        engine,
        Call(name="update", role="actor", method="update", iteration=0, rows=rows),
        {name: field[index] for name, field in batch().items()},
        epochs=2,
        micro_batch=micro_batch,
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
