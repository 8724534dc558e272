"""Raw options as columns: what the rules multiply, and what the costs take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.table import Configurations
from planner.costs.passes.training import OFFLOAD, RECOMPUTE
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Offload, Recompute, RoleStrategy

Whole = NDArray[np.int64]
Columns = Mapping[str, Whole]
"""Columns of one length, by the name of the field that they are."""

RECOMPUTES: tuple[Recompute, ...] = tuple(sorted(RECOMPUTE, key=RECOMPUTE.__getitem__))
OFFLOADS: tuple[Offload, ...] = tuple(sorted(OFFLOAD, key=OFFLOAD.__getitem__))
"""By their codes."""


def crossed(rows: Columns, values: Mapping[str, ArrayLike], allowed: ArrayLike) -> Columns:
    """Each row with each of the values that it may have, rows in their order.

    Parameters
    ----------
    values
        By field, shape (values,) or (rows, values).
    allowed
        Shape (values,) or (rows, values).

    >>> found = crossed({"a": np.array([1, 2])}, {"b": [3, 4]}, [[True, False], [True, True]])
    >>> {name: column.tolist() for name, column in found.items()}
    {'a': [1, 2, 2], 'b': [3, 3, 4]}
    """
    count = len(next(iter(rows.values())))
    choices = np.shape(next(iter(values.values())))[-1]
    row, choice = np.nonzero(np.broadcast_to(allowed, (count, choices)))
    chosen = {
        name: np.broadcast_to(np.asarray(column, dtype=np.int64), (count, choices))[row, choice]
        for name, column in values.items()
    }
    return {**{name: column[row] for name, column in rows.items()}, **chosen}


def concatenated(parts: Sequence[Columns]) -> Columns:
    """Rows of all parts, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def taken(rows: Columns, numbers: Whole | NDArray[np.bool_]) -> Columns:
    """Some of the rows."""
    return {name: column[numbers] for name, column in rows.items()}


def configurations(rows: Columns) -> Configurations:
    """Layouts as the costs take them."""
    return Configurations(**{field.name: rows[field.name] for field in fields(Configurations)})


def generations(rows: Columns) -> Generations:
    """Generation strategies as the costs take them."""
    return Generations(**{field.name: rows[f"generate_{field.name}"] for field in fields(Generations)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategies(Sequence[RoleStrategy]):
    """Strategies of rows, each made when it is asked for."""

    rows: Columns
    """Those of `Configurations` and ``offload``; those of `Generations` with ``generate_`` before."""
    phase: str | None
    """Of the layout that weights live in; none for a role that only generates."""

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    @overload
    def __getitem__(self, index: int) -> RoleStrategy: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[RoleStrategy, ...]: ...

    def __getitem__(self, index: int | slice) -> RoleStrategy | tuple[RoleStrategy, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        row = {name: int(column[index]) for name, column in self.rows.items()}
        has_generation = "generate_pipeline" in row
        generate = generations(taken(self.rows, np.array([index]))).one(0) if has_generation else None
        if self.phase is None:
            return RoleStrategy(generate=generate)
        layout = ParallelStrategy(**{name: row[name] for name in ParallelStrategy.model_fields})
        return RoleStrategy(
            train=layout if self.phase == "train" else None,
            infer=layout if self.phase == "infer" else None,
            generate=generate,
            micro_batch=row["micro_batch"],
            micro_batch_tokens=row["micro_batch_tokens"] or None,
            recompute=RECOMPUTES[row["recompute"]],
            offload=OFFLOADS[row["offload"]],
        )

    def at(self, numbers: Whole) -> "Strategies":
        """Some of the strategies."""
        return Strategies(rows=taken(self.rows, numbers), phase=self.phase)
