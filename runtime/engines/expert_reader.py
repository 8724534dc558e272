"""Training shards of all experts, also of those that other ranks hold."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
import torch.distributed as dist

from planner.domain.weights import WeightTensor, shard_shape
from runtime.engines.shards import Shard


class ExpertReader:
    """Reads this rank's shard of any tensor of its stage, collectively; counts what it receives.

    The ranks that a layer's experts are spread over hold equally many, one run after the other, and read the
    same tensors in the same order. With the first expert of a layer comes the whole layer, by one all-gather.

    Parameters
    ----------
    tensors
        All weights of the model, in their order.
    group
        The ranks that share the experts of a layer, in the order of their runs.
    tensor_size
        Ranks that each tensor is cut over.
    """

    def __init__(
        self,
        held: Mapping[str, Shard],
        tensors: Sequence[WeightTensor],
        group: dist.ProcessGroup,
        *,
        tensor_size: int,
    ) -> None:
        self._held, self._group, self._tensor_size = held, group, tensor_size
        spread = [tensor for tensor in tensors if tensor.is_expert] if group.size() > 1 else []
        self._layers = {layer: list(those) for layer, those in groupby(spread, lambda tensor: tensor.layer)}
        self._layer_of = {tensor.name: tensor.layer for tensor in spread}
        self._gathered: dict[str, torch.Tensor] = {}
        self.received_bytes = 0

    def __call__(self, name: str) -> torch.Tensor:
        if name not in self._layer_of:
            return self._held[name].read()
        if name not in self._gathered:
            self._gathered = self._gather(self._layers[self._layer_of[name]])
        return self._gathered.pop(name)

    def _gather(self, tensors: Sequence[WeightTensor]) -> dict[str, torch.Tensor]:
        own = [self._held[tensor.name].read() for tensor in tensors if tensor.name in self._held]
        flat = torch.cat([part.reshape(-1) for part in own])
        gathered = flat.new_empty(self._group.size() * flat.numel())
        dist.all_gather_single(gathered, flat, group=self._group)
        self.received_bytes += gathered.nbytes - flat.nbytes
        shapes = [torch.Size(shard_shape(tensor, self._tensor_size)) for tensor in tensors]
        parts = gathered.split([shape.numel() for shape in shapes])
        return {
            tensor.name: part.view(shape) for tensor, part, shape in zip(tensors, parts, shapes, strict=True)
        }
