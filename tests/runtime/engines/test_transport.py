"""Weights sent from one layout to a generation engine of another, without Ray."""

import pytest
import torch
import torch.distributed as dist

from planner.domain.parallelism import ParallelStrategy
from planner.domain.weights import weight_tensors
from runtime.engines.hybrid import probe_sequences
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.transport import PlacedWeights, packed_weights
from runtime.transfer import Ranks, three_d_weights
from tests.runtime import tiny
from tests.runtime.worlds import run_world


class Receiver:
    """What a generation engine says of itself."""

    def __init__(self, model, tensor, shard):
        self.model, self.shard = model, shard
        self.generation = type("Generation", (), {"tensor": tensor})


def sent(model, text, precision, offload):
    engine = MegatronEngine(
        model=model,
        head="vocabulary",
        layout=Layout(ParallelStrategy.parse(text)),
        precision=precision,
        seed=0,
        optimizer=None,
        offload=offload,
    )
    engine.load(model.folder)
    weights = packed_weights(engine, probe_sequences(model, 16), version=3)
    whole = {name: tensor.clone() for name, tensor in engine.export()}
    return weights, whole if dist.get_rank() == 0 else None


@pytest.mark.parametrize(
    ("kind", "text", "precision", "offload"),
    [
        ("llama", "p1t2d1", "fp32", "none"),
        ("qwen3", "p2t1d1", "bf16", "none"),
        ("llama", "p1t2d1", "fp32", "all"),
        ("qwen3_moe", "p1t1d2e2", "fp32", "none"),
    ],
)
@pytest.mark.parametrize("tensor", [1, 2, 4])
def test_every_generation_rank_gets_its_slice_of_every_tensor(
    tmp_path, kind, text, precision, offload, tensor
):
    model = tiny.write_model(tmp_path / "model", kind, kv_heads=4)
    strategy = ParallelStrategy.parse(text)
    ranks = run_world(sent, strategy.devices, model, text, precision, offload)
    shards = [ranks[rank][0] for rank in three_d_weights.collect(Ranks(layout=strategy))]
    whole = ranks[0][1]
    assert {shard.version for shard in shards} == {3}
    for shard in range(tensor):
        placed = PlacedWeights(shards, Receiver(model, tensor, shard))
        received = 0
        for weight, (name, full) in zip(weight_tensors(model), placed, strict=True):
            assert (weight.name, tuple(full.shape)) == (name, weight.shape)
            if weight.split == "whole":
                mine, expected = full, whole[name]
            else:
                axis = 0 if weight.split == "rows" else 1
                size = weight.shape[axis] // tensor
                mine, expected = (
                    full.narrow(axis, shard * size, size),
                    whole[name].narrow(axis, shard * size, size),
                )
                assert int(full.isnan().sum()) == full.numel() - mine.numel()
            assert torch.equal(mine, expected)
            received += mine.numel() * mine.element_size()
        assert placed.received_bytes == received
