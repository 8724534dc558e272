"""Whole weights, or generation shards, out of the training parts of several ranks.

The one collective behind export and reshard: an all-gather per bucket, of which every rank receives each byte
that it does not hold once (`planner.domain.resharding.reshard_volume` predicts how many).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist

from planner.domain.grouping import Kind, kind_of
from planner.domain.model import Head, ModelSpec
from planner.domain.parallelism import ParallelStrategy, coordinates
from planner.domain.resharding import pieces
from planner.domain.weights import WeightTensor, shard_shape, weight_tensors
from runtime.engines.buckets import HandedOut, buckets
from runtime.engines.groups import WeightGroups

BUCKET_BYTES = 128 * 2**20
"""Of what all ranks of a group together put into one bucket, unless one tensor is larger."""
_KINDS: tuple[Kind, ...] = ("whole", "split", "expert")


@dataclass(kw_only=True)
class WeightGather:
    """Iterates over (tensor, this rank's gathered part), collectively; counts what it receives."""

    model: ModelSpec
    head: Head
    strategy: ParallelStrategy
    read: Callable[[str], torch.Tensor]
    """This rank's training part of a tensor that it holds."""
    dtype: torch.dtype
    device: torch.device
    groups: WeightGroups
    bucket_bytes: int = BUCKET_BYTES
    received_bytes: int = field(default=0, init=False)
    collectives: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[tuple[WeightTensor, torch.Tensor]]:
        for kind in _KINDS:
            group = self.groups.of(kind)
            members = {rank: coordinates(self.strategy, rank) for rank in dist.get_process_group_ranks(group)}
            handed_out = {
                tensor: given
                for tensor in weight_tensors(self.model, self.head)
                if kind_of(tensor) == kind and (given := pieces(tensor, self.model, self.strategy, members))
            }
            for bucket in buckets(handed_out, elements=self.bucket_bytes // self.dtype.itemsize):
                yield from self._gather({tensor: handed_out[tensor] for tensor in bucket}, group)

    def _gather(
        self, bucket: Mapping[WeightTensor, HandedOut], group: dist.ProcessGroup
    ) -> Iterator[tuple[WeightTensor, torch.Tensor]]:
        members = dist.get_process_group_ranks(group)
        if len(members) == 1:
            yield from ((tensor, self.read(tensor.name)) for tensor in bucket)
            return
        sizes = [sum(given[rank].elements for given in bucket.values() if rank in given) for rank in members]
        flat = torch.empty(sum(sizes), dtype=self.dtype, device=self.device)
        rows = dict(zip(members, flat.split(sizes), strict=True))
        own = rows[dist.get_rank()]
        self._hand_out(bucket, own)
        all_gather_uneven(flat, list(rows.values()), group)
        self.received_bytes += flat.nbytes - own.nbytes
        self.collectives += 1
        yield from self._unpacked(bucket, rows)

    def _hand_out(self, bucket: Mapping[WeightTensor, HandedOut], row: torch.Tensor) -> None:
        """Write this rank's pieces into its row, one after the other."""
        place, rank = 0, dist.get_rank()
        for tensor, given in bucket.items():
            if rank in given:
                piece = given[rank]
                part = self.read(tensor.name).reshape(-1)[piece.start : piece.stop]
                row[place : place + piece.elements] = part
                place += piece.elements

    def _unpacked(
        self, bucket: Mapping[WeightTensor, HandedOut], rows: Mapping[int, torch.Tensor]
    ) -> Iterator[tuple[WeightTensor, torch.Tensor]]:
        places = dict.fromkeys(rows, 0)
        for tensor, given in bucket.items():
            parts: dict[int, list[torch.Tensor]] = {}
            for rank, piece in given.items():
                values = rows[rank][places[rank] : places[rank] + piece.elements]
                places[rank] += piece.elements
                parts.setdefault(piece.part, []).append(values)
            yield tensor, self._joined(tensor, parts)

    def _joined(self, tensor: WeightTensor, parts: Mapping[int, Sequence[torch.Tensor]]) -> torch.Tensor:
        """The tensor's parts side by side, each out of the pieces of its holders."""
        shape = shard_shape(tensor, self.strategy.tensor)
        shaped = [
            (runs[0] if len(runs) == 1 else torch.cat(list(runs))).view(shape)
            for _, runs in sorted(parts.items())
        ]
        return shaped[0] if len(shaped) == 1 else torch.cat(shaped, dim=0 if tensor.split == "rows" else 1)


def all_gather_uneven(flat: torch.Tensor, rows: Sequence[torch.Tensor], group: dist.ProcessGroup) -> None:
    """Fill every rank's row, views of ``flat`` in the group's order, of which each rank has its own.

    One all-gather where the rows are equally long. NCCL gathers uneven ones as well; gloo refuses them, so
    there every rank's row is broadcast, all at once, and no padding is sent.
    """
    own = rows[group.rank()]
    if len({row.numel() for row in rows}) == 1:
        dist.all_gather_single(flat, own, group=group)
    elif dist.get_backend(group) == "nccl":
        dist.all_gather(list(rows), own, group=group)
    else:
        sent = [
            dist.broadcast(row, dist.get_global_rank(group, source), group=group, async_op=True)
            for source, row in enumerate(rows)
            if row.numel()
        ]
        for work in sent:
            work.wait()
