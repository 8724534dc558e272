"""The process groups of a weight sync."""

from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from planner.domain.grouping import Grouping, Kind, gather_groups
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy


@dataclass(frozen=True, slots=True)
class WeightGroups:
    """The ranks that this one gathers weights from, by kind of tensor (`planner.domain.grouping`)."""

    grouping: Grouping
    whole: dist.ProcessGroup
    split: dist.ProcessGroup
    expert: dist.ProcessGroup

    def of(self, kind: Kind) -> dist.ProcessGroup:
        """The group of a kind of tensors."""
        return {"whole": self.whole, "split": self.split, "expert": self.expert}[kind]


def weight_groups(
    train: ParallelStrategy,
    generate: GenerationStrategy,
    *,
    timeout: timedelta,
    grouping: Grouping = "zero-redundancy",
) -> WeightGroups:
    """Create the groups; every rank of the world calls this."""

    def created(kind: Kind) -> dist.ProcessGroup:
        ranks = gather_groups(train, generate, grouping, kind)
        return dist.new_subgroups_by_enumeration(ranks, timeout=timeout)[0]

    split = created("split")
    return WeightGroups(
        grouping=grouping,
        whole=created("whole"),
        split=split,
        expert=created("expert") if train.expert > 1 else split,
    )
