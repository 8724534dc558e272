"""Norms of the transformer where TransformerEngine, which brings its own, is not installed."""

from typing import Any

import torch
from megatron.core.transformer import TransformerConfig

from runtime.engines.elementwise import normalised


class RootMeanSquareNorm(torch.nn.RMSNorm):
    """RMSNorm that also works on a slice of the sequence.

    Megatron's own torch norm refuses sequence parallelism. All it takes is the mark by which Megatron sums
    the weight's gradient over the tensor ranks, each of which has seen its slice of the tokens only.
    """

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> None:
        super().__init__(hidden_size, eps=eps)
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]
        self._epsilon = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Norm over the last axis."""
        return normalised(x, self.weight, self._epsilon)
