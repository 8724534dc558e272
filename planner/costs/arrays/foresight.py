"""Predictions of many strategies made at once, for a search that will ask for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.costs.arrays.forward_table import forward_table
from planner.costs.arrays.grouping import Whole
from planner.costs.arrays.table import Configurations, training_table
from planner.costs.passes.training import RECOMPUTE
from planner.costs.setting import Setting
from planner.domain.dataflow import CallKind
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy

STATES = ("parameters", "gradients", "optimizer")
Key = tuple[CallKind, ParallelStrategy, int, str | None]


@dataclass(frozen=True, slots=True)
class Foresight:
    """What is known in advance of one role's costs on one node pool."""

    seconds: dict[Key | None, float] = field(default_factory=dict)
    """Of a whole call."""
    transient: dict[Key | None, dict[str, int]] = field(default_factory=dict)
    """Bytes by kind beside those that live during the whole iteration."""
    persistent: dict[tuple[ParallelStrategy, bool], dict[str, int]] = field(default_factory=dict)
    """Bytes by kind of a layout, and whether the role is trained."""

    def train(self, setting: Setting, strategies: Sequence[RoleStrategy]) -> None:
        """Foresee updates."""
        table = training_table(setting, configurations_of(strategies))
        steps = setting.workload.epochs * setting.workload.mini_batches
        keys = [key_of("train", strategy) for strategy in strategies]
        self.seconds.update(zip(keys, (steps * table.seconds.total).tolist(), strict=True))
        beside = {kind: sizes for kind, sizes in table.bytes.items() if kind not in STATES}
        self.transient.update(zip(keys, _rows(beside), strict=True))
        held = _rows({kind: table.bytes[kind] for kind in STATES}, keep_zeros=True)
        self.persistent.update(zip(((each.layout, True) for each in strategies), held, strict=True))

    def infer(self, setting: Setting, strategies: Sequence[RoleStrategy]) -> None:
        """Foresee forward passes."""
        table = forward_table(setting, configurations_of(strategies))
        keys = [key_of("infer", strategy) for strategy in strategies]
        self.seconds.update(zip(keys, table.seconds.tolist(), strict=True))
        self.transient.update(zip(keys, _rows(table.bytes), strict=True))
        held = _rows({"parameters": table.parameters}, keep_zeros=True)
        self.persistent.update(zip(((each.layout, False) for each in strategies), held, strict=True))


def key_of(kind: CallKind, strategy: RoleStrategy) -> Key | None:
    """What a call that is not of generation depends on; none where nothing can be foreseen."""
    if strategy.offload != "none" or strategy.micro_batch_tokens:
        return None
    return kind, strategy.layout, strategy.micro_batch, strategy.recompute if kind == "train" else None


def configurations_of(strategies: Sequence[RoleStrategy]) -> Configurations:
    """The strategies' layouts, micro-batches and recomputation."""
    layouts = [strategy.layout for strategy in strategies]
    sizes = {
        name: np.array([getattr(layout, name) for layout in layouts])
        for name in ("pipeline", "tensor", "data", "virtual", "context", "expert")
    }
    return Configurations(
        **sizes,
        micro_batch=np.array([strategy.micro_batch for strategy in strategies]),
        recompute=np.array([RECOMPUTE[strategy.recompute] for strategy in strategies]),
    )


def _rows(columns: Mapping[str, Whole], *, keep_zeros: bool = False) -> list[dict[str, int]]:
    """Bytes by kind of each row; kinds that take none are left out."""
    kinds = list(columns)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [{kind: size for kind, size in zip(kinds, row, strict=True) if size or keep_zeros} for row in rows]
