"""The 3D-HybridEngine: training weights become generation weights in place (HybridFlow, section 5)."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from megatron.core import parallel_state

from planner.domain.model import ModelSpec
from planner.domain.weights import WeightTensor
from runtime.engines.gather import BUCKET_BYTES, WeightGather
from runtime.engines.groups import WeightGroups
from runtime.engines.megatron import MegatronEngine
from runtime.engines.vllm import GenerationEngine
from runtime.platform import current_device

_PROBE_ROWS, _PROBE_TOKENS = 2, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardReport:
    """One weight sync, on this rank."""

    received_bytes: int
    """From the other ranks of its groups."""
    generation_bytes: int
    """Its whole generation shard."""
    gathered_bytes: int
    """All that it gathered: more than its generation shard in other groupings than HybridFlow's."""
    collectives: int
    """One per bucket and kind of tensors."""
    seconds: float


def reshard(
    engine: MegatronEngine,
    generator: GenerationEngine,
    *,
    groups: WeightGroups | None = None,
    bucket_bytes: int = BUCKET_BYTES,
) -> ReshardReport:
    """Give the training weights to the generation engine; all ranks call it together.

    Each rank gathers its generation shard inside its micro-DP group, a bucket at a time, and drops a bucket
    once vLLM has read it. Other groupings gather all weights and keep them until they are read, as the
    systems do that they stand for.

    Parameters
    ----------
    groups
        To gather in; the generator's own, or to compare with them, groups in which all weights are gathered.
    """
    start = time.perf_counter()
    groups = groups or generator.groups
    gather = engine.gather(groups, bucket_bytes=bucket_bytes)
    placed = _Placed(gather, shard=generator.shard, shards=generator.generation.tensor)
    generator.load(placed if groups.grouping == "zero-redundancy" else list(placed))
    engine.offload()
    return ReshardReport(
        received_bytes=gather.received_bytes,
        generation_bytes=placed.generation_bytes,
        gathered_bytes=placed.gathered_bytes,
        collectives=gather.collectives,
        seconds=time.perf_counter() - start,
    )


class _Placed:
    """Gathered parts as full-sized tensors in which only this rank's generation shard is real.

    The rest is NaN: were the engine to read it, the probe would tell. What is gathered whole stays whole.
    """

    def __init__(self, gather: WeightGather, *, shard: int, shards: int) -> None:
        self._gather, self._shard, self._shards = gather, shard, shards
        self.generation_bytes = self.gathered_bytes = 0

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for tensor, part in self._gather:
            self.gathered_bytes += part.nbytes
            size = tensor.elements * part.itemsize
            self.generation_bytes += size if tensor.split == "whole" else size // self._shards
            yield tensor.name, part if part.shape == tensor.shape else self._full(tensor, part)

    def _full(self, tensor: WeightTensor, part: torch.Tensor) -> torch.Tensor:
        axis = 0 if tensor.split == "rows" else 1
        size = part.shape[axis]
        full = part.new_full(tensor.shape, math.nan)
        full.narrow(axis, self._shard * size, size).copy_(part)
        return full


def probe(
    engine: MegatronEngine, generator: GenerationEngine, sequences: Sequence[Sequence[int]] | None = None
) -> float:
    """Greatest difference between vLLM's and Megatron's log-probabilities, of all generation replicas.

    The same on all ranks.

    Parameters
    ----------
    sequences
        Equally long token sequences; by default fixed random ones. Not finite counts as infinite.
    """
    rows = (
        [list(row) for row in sequences]
        if sequences is not None
        else probe_sequences(generator.model, generator.maximum_tokens)
    )
    trained = _trained_logprobs(engine, torch.tensor(rows))  # before the KV cache takes memory
    scored = torch.tensor(generator.score(rows), dtype=torch.float32)
    difference = (trained - scored.to(trained.device)).abs().max()
    worst = torch.where(difference.isfinite(), difference, torch.inf)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    return float(worst)


def _trained_logprobs(engine: MegatronEngine, tokens_bs: torch.Tensor) -> torch.Tensor:
    """Megatron's log-probabilities on every rank, shape (b, s-1): the last stage tells the others."""
    rows, columns = tokens_bs.shape
    logprobs_bs = engine.forward(tokens_bs, micro_batch=rows)
    if logprobs_bs is None:
        logprobs_bs = torch.empty(rows, columns - 1, device=current_device())
    with engine.layout:
        stages = parallel_state.get_pipeline_model_parallel_group()
        dist.broadcast(logprobs_bs, parallel_state.get_pipeline_model_parallel_last_rank(), group=stages)
    return logprobs_bs


def probe_sequences(model: ModelSpec, maximum_tokens: int) -> list[list[int]]:
    """Fixed random sequences that both engines score."""
    length = min(_PROBE_TOKENS, maximum_tokens - 1)
    draw = torch.Generator().manual_seed(0)
    return torch.randint(model.vocab, (_PROBE_ROWS, length), generator=draw).tolist()
