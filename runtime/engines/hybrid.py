"""The 3D-HybridEngine: training weights become generation weights in place (HybridFlow, section 5)."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from planner.domain.weights import WeightTensor
from runtime.engines.gather import WeightGather
from runtime.engines.megatron import MegatronEngine
from runtime.engines.vllm import GenerationEngine
from runtime.platform import current_device

_PROBE_ROWS, _PROBE_TOKENS = 2, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardReport:
    """One weight sync, on this rank."""

    received_bytes: int
    """From the other ranks of its micro-DP group."""
    generation_bytes: int
    """Its whole generation shard."""
    seconds: float


def reshard(engine: MegatronEngine, generator: GenerationEngine) -> ReshardReport:
    """Give the training weights to the generation engine; all ranks call it together.

    Each rank gathers its generation shard inside its micro-DP group, a layer at a time.
    """
    start = time.perf_counter()
    gather = engine.gather(generator.groups.tensor, generator.groups.stages)
    placed = _Placed(gather, shard=generator.shard, shards=generator.generation.tensor)
    generator.load(placed)
    return ReshardReport(
        received_bytes=gather.received_bytes,
        generation_bytes=placed.generation_bytes,
        seconds=time.perf_counter() - start,
    )


class _Placed:
    """Gathered parts as full-sized tensors in which only this rank's generation shard is real.

    The rest is NaN: were the engine to read it, the probe would tell.
    """

    def __init__(self, gather: WeightGather, *, shard: int, shards: int) -> None:
        self._gather, self._shard, self._shards = gather, shard, shards
        self.generation_bytes = 0

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for tensor, part in self._gather:
            self.generation_bytes += part.nbytes
            yield tensor.name, self._full(tensor, part)

    def _full(self, tensor: WeightTensor, part: torch.Tensor) -> torch.Tensor:
        if tensor.split == "whole" or self._shards == 1:
            return part
        axis = 0 if tensor.split == "rows" else 1
        size = part.shape[axis]
        full = part.new_full(tensor.shape, math.nan)
        full.narrow(axis, self._shard * size, size).copy_(part)
        return full


def probe(
    engine: MegatronEngine, generator: GenerationEngine, sequences: Sequence[Sequence[int]] | None = None
) -> float:
    """Greatest difference between vLLM's and Megatron's log-probabilities; the same on all ranks.

    Parameters
    ----------
    sequences
        Equally long token sequences; by default fixed random ones. Not finite counts as infinite.
    """
    rows = [list(row) for row in sequences] if sequences is not None else _fixed_sequences(generator)
    scored = torch.tensor(generator.score(rows), dtype=torch.float32)
    trained = engine.forward(torch.tensor(rows), micro_batch=len(rows))
    worst = torch.zeros((), device=current_device())
    if trained is not None:
        difference = (trained - scored.to(trained.device)).abs().max()
        worst = torch.where(difference.isfinite(), difference, torch.inf)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    return float(worst)


def _fixed_sequences(generator: GenerationEngine) -> list[list[int]]:
    length = min(_PROBE_TOKENS, generator.maximum_tokens - 1)
    draw = torch.Generator().manual_seed(0)
    return torch.randint(generator.model.vocab, (_PROBE_ROWS, length), generator=draw).tolist()
