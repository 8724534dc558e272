"""Whole weights, or generation shards, out of the training shards of several ranks.

The one collective behind export and reshard. It goes through the model a layer at a time, so beside the two
layouts only one layer is in memory. Split tensors are gathered among the ranks that hold the same layers,
then what was gathered is broadcast to the other stages: a rank receives each byte once
(`planner.domain.resharding.reshard_volume` predicts how many).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
import torch.distributed as dist

from planner.domain.model import Head, ModelSpec
from planner.domain.parallelism import ParallelStrategy, coordinates
from planner.domain.resharding import holds
from planner.domain.weights import WeightTensor, weight_tensors


@dataclass(kw_only=True)
class WeightGather:
    """Iterates over (tensor, this rank's gathered part), collectively; counts what it receives."""

    model: ModelSpec
    head: Head
    strategy: ParallelStrategy
    read: Callable[[str], torch.Tensor]
    """This rank's training shard of a tensor that its stage holds."""
    dtype: torch.dtype
    device: torch.device
    tensor_group: dist.ProcessGroup
    """Ranks of one stage whose shards adjoin, in their order."""
    stage_group: dist.ProcessGroup
    """Ranks of all stages with the same tensor coordinate, by stage."""
    received_bytes: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[tuple[WeightTensor, torch.Tensor]]:
        tensors = weight_tensors(self.model, self.head)
        for _, unit in groupby(tensors, key=lambda tensor: (tensor.layer, tensor.in_last_stage)):
            yield from self._unit(list(unit))

    def _unit(self, unit: Sequence[WeightTensor]) -> Iterator[tuple[WeightTensor, torch.Tensor]]:
        """The tensors of one layer, all of which the same stage holds."""
        stages, virtual = self.strategy.pipeline, self.strategy.virtual
        layers = self.model.layers
        stage = next(s for s in range(stages) if holds(unit[0], s, stages, layers, virtual=virtual))
        own = coordinates(self.strategy, dist.get_rank()).pipeline
        parts = self._gather(unit) if own == stage else [None] * len(unit)
        if stages > 1:
            parts = self._broadcast(unit, parts, stage=stage, own=own)
        yield from zip(unit, parts, strict=True)

    def _gather(self, unit: Sequence[WeightTensor]) -> list[torch.Tensor]:
        parts = [self.read(tensor.name) for tensor in unit]
        size = self.tensor_group.size()
        if size == 1:
            return parts
        split = [index for index, tensor in enumerate(unit) if tensor.split != "whole"]
        if not split:
            return parts
        flat = torch.cat([parts[index].reshape(-1) for index in split])
        gathered = flat.new_empty(size * flat.numel())
        dist.all_gather_single(gathered, flat, group=self.tensor_group)
        self.received_bytes += (size - 1) * flat.nbytes
        shapes = [parts[index].shape for index in split]
        shards = [_unpack(row, shapes) for row in gathered.view(size, -1)]
        for place, index in enumerate(split):
            axis = 0 if unit[index].split == "rows" else 1
            parts[index] = torch.cat([shard[place] for shard in shards], dim=axis)
        return parts

    def _broadcast(
        self, unit: Sequence[WeightTensor], parts: Sequence[torch.Tensor | None], *, stage: int, own: int
    ) -> list[torch.Tensor]:
        shapes = [self._gathered_shape(tensor) for tensor in unit]
        if own == stage:
            flat = torch.cat([part.reshape(-1) for part in parts if part is not None])
        else:
            size = sum(shape.numel() for shape in shapes)
            flat = torch.empty(size, dtype=self.dtype, device=self.device)
            self.received_bytes += flat.nbytes
        dist.broadcast(flat, dist.get_global_rank(self.stage_group, stage), group=self.stage_group)
        return _unpack(flat, shapes)

    def _gathered_shape(self, tensor: WeightTensor) -> torch.Size:
        shape = list(tensor.shape)
        if tensor.split != "whole":
            axis = 0 if tensor.split == "rows" else 1
            shape[axis] = shape[axis] // self.strategy.tensor * self.tensor_group.size()
        return torch.Size(shape)


def _unpack(flat: torch.Tensor, shapes: Sequence[torch.Size]) -> list[torch.Tensor]:
    pieces = flat.split([shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
