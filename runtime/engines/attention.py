"""The core of causal attention where TransformerEngine, which brings its own, is not installed."""

from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.transformer import TransformerConfig
from torch.nn import functional

from runtime.engines.elementwise import rotary_table, rotated
from runtime.engines.sequences import positions


class CausalAttention(torch.nn.Module):
    """Grouped-query attention by torch's fused kernel, also with sequences cut over context-parallel ranks.

    Those gather each other's keys and values; Megatron's own core asks for TransformerEngine then. Queries
    and keys come as they were projected: their rotary embeddings are applied here.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        *_: Any,
        rope_theta: float,
        softmax_scale: float | None = None,
        pg_collection: Any = None,
        **__: Any,
    ) -> None:
        super().__init__()
        self._theta, self._scale = rope_theta, softmax_scale
        self._ranks = (
            parallel_state.get_context_parallel_group() if pg_collection is None else pg_collection.cp
        )

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        """Outputs (s, b, heads x size) of (s, b, heads, size); keys and values have fewer heads."""
        places = self._places(len(query), query.device)
        table = rotary_table(
            places[self._ranks.rank()], query.shape[-1], theta=self._theta, dtype=query.dtype
        )
        query, key = rotated(query, *table), rotated(key, *table)
        mask = None
        if self._ranks.size() > 1:
            mask = places[self._ranks.rank()][:, None] >= torch.cat(places)
            key, value = (_Gathered.apply(part, self._ranks) for part in (key, value))
        output = functional.scaled_dot_product_attention(
            *(part.permute(1, 2, 0, 3) for part in (query, key, value)),
            attn_mask=mask,
            is_causal=mask is None,
            scale=self._scale,
            enable_gqa=key.shape[2] != query.shape[2],
        )
        return output.permute(2, 0, 1, 3).flatten(2)

    def _places(self, own: int, device: torch.device) -> list[torch.Tensor]:
        """Positions, in the whole sequence, of what each rank holds; gathered keys lie rank by rank."""
        ranks = self._ranks.size()
        return [positions(own * ranks, rank, ranks, device) for rank in range(ranks)]


class _Gathered(torch.autograd.Function):
    """The parts of all ranks along the first axis; gradients are summed and scattered back."""

    @staticmethod
    def forward(context: Any, part: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
        context.group = group
        gathered = part.new_empty(group.size() * len(part), *part.shape[1:])
        dist.all_gather_single(gathered, part.contiguous(), group=group)
        return gathered

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        own = gradient.new_empty(len(gradient) // context.group.size(), *gradient.shape[1:])
        dist.reduce_scatter_single(own, gradient.contiguous(), group=context.group)
        return own, None
