"""Weights on their way from training ranks to generation engines on other devices.

Each training rank of one replica sends what it holds, under Hugging Face names. A generation rank copies what
lies in its shard of each tensor; the two layouts need not divide each other.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from planner.domain.parallelism import coordinates
from planner.domain.weights import WeightTensor, weight_tensors
from runtime.engines.hybrid import probe_sequences
from runtime.engines.megatron import MegatronEngine
from runtime.engines.transformer import DTYPE
from runtime.engines.vllm import GenerationEngine
from runtime.platform import current_device

_DTYPES = {"torch.bfloat16": torch.bfloat16, "torch.float32": torch.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentWeights:
    """What one training rank holds."""

    version: int
    """Updates of the weights."""
    parts: Mapping[str, np.ndarray]
    """Its part of each tensor, as bytes."""
    dtype: str
    index: int
    """Which of the parts that tensor parallelism cuts a tensor into."""
    count: int
    logprobs: np.ndarray | None
    """Of the probe's sequences, from a rank of the last stage."""

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts.values())


def packed_weights(
    engine: MegatronEngine, sequences: Sequence[Sequence[int]], *, version: int, sends: bool = True
) -> SentWeights:
    """This rank's weights in host memory; all ranks call it together.

    Parameters
    ----------
    sends
        Whether this rank's weights are wanted; without, it takes part in the computation only.
    """
    held = engine.copied_parts() if sends else {}
    logprobs = engine.forward(torch.tensor(sequences), micro_batch=len(sequences))
    return SentWeights(
        version=version,
        parts={name: part.view(torch.uint8).numpy() for name, part in held.items()},
        dtype=str(DTYPE[engine.precision]),
        index=coordinates(engine.layout.strategy, engine.layout.rank).tensor,
        count=engine.layout.strategy.tensor,
        logprobs=None if logprobs is None else logprobs.cpu().numpy(),
    )


class PlacedWeights:
    """Iterates over full-sized tensors in which this rank's generation shard is real; the rest is NaN."""

    def __init__(self, shards: Sequence[SentWeights], engine: GenerationEngine) -> None:
        self._engine = engine
        self._dtype = _DTYPES[shards[0].dtype]
        self._parts: dict[str, dict[int, np.ndarray]] = {}
        self._count = shards[0].count
        for shard in shards:
            for name, part in shard.parts.items():
                self._parts.setdefault(name, {})[shard.index] = part
        self.received_bytes = 0

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for tensor in weight_tensors(self._engine.model):
            yield tensor.name, self._placed(tensor, self._parts[tensor.name])

    def _placed(self, tensor: WeightTensor, parts: Mapping[int, np.ndarray]) -> torch.Tensor:
        device = current_device()
        if tensor.split == "whole":
            return self._part(next(iter(parts.values())), tensor.shape).to(device)
        axis = 0 if tensor.split == "rows" else 1
        size = tensor.shape[axis] // self._count
        own = tensor.shape[axis] // self._engine.generation.tensor
        start, stop = self._engine.shard * own, (self._engine.shard + 1) * own
        shape = [size if place == axis else length for place, length in enumerate(tensor.shape)]
        full = torch.full(tensor.shape, math.nan, dtype=self._dtype, device=device)
        for index, part in parts.items():
            low, high = max(start, index * size), min(stop, (index + 1) * size)
            if low < high:
                piece = self._part(part, shape, of=(axis, low - index * size, high - low))
                full.narrow(axis, low, high - low).copy_(piece)
        return full

    def _part(
        self, part: np.ndarray, shape: Sequence[int], of: tuple[int, int, int] | None = None
    ) -> torch.Tensor:
        """Bytes as a tensor, or so many rows or columns of it."""
        whole = torch.from_numpy(part.copy() if not part.flags.writeable else part).view(self._dtype)
        found = whole.reshape(tuple(shape)) if of is None else whole.reshape(tuple(shape)).narrow(*of)
        self.received_bytes += found.numel() * found.element_size()
        return found


def difference(shards: Sequence[SentWeights], engine: GenerationEngine) -> float:
    """Greatest difference between the engines' log-probabilities of the probe's sequences."""
    trained = next(shard.logprobs for shard in shards if shard.logprobs is not None)
    sequences = probe_sequences(engine.model, engine.maximum_tokens)
    found = (torch.tensor(engine.score(sequences)) - torch.from_numpy(trained.copy())).abs().max()
    return float(found) if found.isfinite() else math.inf
