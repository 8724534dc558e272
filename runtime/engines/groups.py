"""The process groups of the 3D-HybridEngine's weight sync."""

from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    micro_data_groups,
)


@dataclass(frozen=True, slots=True)
class MicroGroups:
    """The micro-DP group of this rank, by its two dimensions (HybridFlow, section 5.3)."""

    tensor: dist.ProcessGroup
    """Its ranks of the same pipeline stage, whose training shards make up one generation shard."""
    stages: dist.ProcessGroup
    """Its ranks of the same tensor coordinate, one per pipeline stage."""


def micro_groups(train: ParallelStrategy, generate: GenerationStrategy, *, timeout: timedelta) -> MicroGroups:
    """Create the groups of all micro-DP groups; every rank of the world calls this."""
    blocks = micro_data_groups(train, generate)
    tensor = [part for block in blocks for part in _parts(train, block, "pipeline")]
    stages = [part for block in blocks for part in _parts(train, block, "tensor")]
    return MicroGroups(
        tensor=dist.new_subgroups_by_enumeration(tensor, timeout=timeout)[0],
        stages=dist.new_subgroups_by_enumeration(stages, timeout=timeout)[0],
    )


def _parts(train: ParallelStrategy, ranks: list[int], coordinate: str) -> list[list[int]]:
    """The ranks by one of their coordinates."""
    parts: dict[int, list[int]] = {}
    for rank in ranks:
        parts.setdefault(getattr(coordinates(train, rank), coordinate), []).append(rank)
    return [parts[key] for key in sorted(parts)]
