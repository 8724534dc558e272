"""Seconds and bytes by kind of very many training layouts at once.

The same functions as for one layout, each called once for all configurations that agree in what it depends
on: kernels on (tensor, context, expert, sequences), exchanges on the layout without its chunks, and so on.
What is left per configuration is to gather from these tables. Equal to
`planner.costs.passes.training.optimizer_step_seconds` and to the bytes of `planner.costs.memory.memory`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.grouping import Groups, Numbers32, Whole, chunks, groups_of, joined, taken
from planner.costs.memory.activations import Batch, Kept, stage_kept, training_pass
from planner.costs.memory.memory import gathered_bytes
from planner.costs.memory.rounding import Numbers
from planner.costs.memory.stages import fullest_stages
from planner.costs.memory.states import States, frozen_states, stage_layers_of, states_at
from planner.costs.passes.data_parallel import Sizes, pipeline_channel
from planner.costs.passes.layer import KINDS
from planner.costs.passes.pipeline import (
    Passages,
    hop_seconds,
    hops_seconds,
    schedule_seconds,
    slots,
    training_passages,
)
from planner.costs.passes.training import (
    Exchange,
    StepSeconds,
    Tables,
    data_seconds,
    exchange_of,
    is_gathered,
    tables_of,
)
from planner.costs.setting import Job, Setting
from planner.errors import SpecError

Floats = NDArray[np.float64]

_REMEMBERED = 4096
"""Rows of tables of kernels that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configurations:
    """Layouts and their micro-batches, one per row; whole numbers from 1 on.

    Raises
    ------
    SpecError
        The columns are not vectors of one length, or have no rows.
    """

    pipeline: Whole
    tensor: Whole
    data: Whole
    virtual: Whole
    context: Whole
    expert: Whole
    micro_batch: Whole
    """Sequences of one micro-batch on one replica."""
    recompute: Whole
    """Codes of `planner.costs.passes.training.RECOMPUTE`."""
    micro_batch_tokens: Whole = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    """Packed tokens of one micro-batch in the place of sequences; 0 where sequences are counted."""

    def __post_init__(self) -> None:
        tokens = np.asarray(self.micro_batch_tokens)
        if tokens.shape == (1,):
            object.__setattr__(self, "micro_batch_tokens", np.broadcast_to(tokens, np.shape(self.data)))
        shapes = {column.name: np.shape(getattr(self, column.name)) for column in fields(self)}
        if len(set(shapes.values())) > 1 or len(shapes["data"]) != 1 or not len(self):
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise SpecError(f"configurations: columns must be vectors of one length from 1 on, not {found}")

    def __len__(self) -> int:
        return len(self.pipeline)

    @property
    def sizes(self) -> Sizes:
        return Sizes(
            pipeline=self.pipeline,
            tensor=self.tensor,
            data=self.data,
            virtual=self.virtual,
            context=self.context,
            expert=self.expert,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTable:
    """What each configuration costs; the last axis of every array is the configurations'."""

    seconds: StepSeconds
    """Of one optimizer step."""
    bytes: Mapping[str, Whole]
    """On the fullest device by kind: what a trained role always keeps, and what a step needs beside it."""
    held: Floats
    """Parameters on one rank, as `planner.costs.passes.data_parallel.shards` counts them."""
    updated: Floats
    """Of these, those that the rank updates."""


def training_table(setting: Setting, configurations: Configurations) -> TrainingTable:
    """Seconds and bytes by kind of every configuration of a trained role, nothing offloaded.

    Configurations need not differ, nor be sorted.
    """
    work = Work.of(setting, configurations, batch=setting.mini_batch)
    by = work.groups()
    kept = state_bytes(setting.job, work, by, is_trained=True) | _step_bytes(setting, work, by)
    exchange = exchange_of(setting.job, work.at(by["layout"].rows).sizes)
    return TrainingTable(
        seconds=_step_seconds(setting.job, work, by, exchange),
        bytes=kept,
        held=by["layout"].spread(exchange.held.dense + exchange.held.experts),
        updated=by["layout"].spread(exchange.part),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Configurations and the batches that they pass."""

    configurations: Configurations
    batch: int
    """Sequences of one pass on all replicas together."""
    mean_tokens: float
    """Of a sequence."""
    longest: int
    """Tokens of the longest sequence."""

    @classmethod
    def of(cls, setting: Setting, configurations: Configurations, *, batch: int) -> "Work":
        """Batches of the setting's sequences."""
        longest = setting.workload.maximum_tokens
        return cls(
            configurations=configurations, batch=batch, mean_tokens=setting.job.tokens, longest=longest
        )

    def __len__(self) -> int:
        return len(self.configurations)

    @property
    def sizes(self) -> Sizes:
        return self.configurations.sizes

    @property
    def recompute(self) -> Whole:
        return self.configurations.recompute

    @property
    def total(self) -> Whole:
        """Sequences of one pass on the fullest replica."""
        return -(-self.batch // self.configurations.data)

    @property
    def sequences(self) -> Numbers:
        """Of one micro-batch; a fraction of the mean length's where there is a budget of tokens."""
        return np.minimum(self._sequences_of(self.mean_tokens), self.total)

    @property
    def micro_batches(self) -> Numbers:
        return -(-self.total // self.sequences)

    @property
    def kept(self) -> Batch:
        """What memory must have room for: micro-batches of the longest sequences."""
        return Batch(sequences=self._sequences_of(self.longest), total=self.total, tokens=self.longest)

    def _sequences_of(self, tokens: float) -> Numbers:
        """Sequences of that length in a micro-batch; one that exceeds the budget is taken alone."""
        counted, budget = self.configurations.micro_batch, self.configurations.micro_batch_tokens
        if not budget.any():
            return counted
        return np.where(budget > 0, np.maximum(1.0, budget / tokens), counted)

    def at(self, rows: Whole | slice) -> "Work":
        """Some of the rows."""
        return replace(self, configurations=taken(self.configurations, rows))

    def groups(self) -> dict[str, Groups]:
        """Rows of equal value in each column."""
        columns = {
            column.name: getattr(self.configurations, column.name) for column in fields(Configurations)
        }
        by = {name: groups_of(column) for name, column in columns.items()}
        by["total"] = groups_of(self.total)
        by["budget"] = joined(by["micro_batch"], by["micro_batch_tokens"])
        by["sequences"] = self._sequence_groups(joined(by["budget"], by["total"]))
        by["cut"] = joined(by["tensor"], by["context"])
        by["layout"] = joined(by["pipeline"], by["cut"], by["data"], by["expert"])
        return by

    def _sequence_groups(self, alike: Groups) -> Groups:
        """Rows of equal sequences in a micro-batch, from rows that agree in all that these depend on."""
        _, rows, of = np.unique(self.at(alike.rows).sequences, return_index=True, return_inverse=True)
        return Groups(rows=alike.rows[rows], of=of.astype(np.int32)[alike.of])


def _step_seconds(job: Job, work: Work, by: Mapping[str, Groups], exchange: Exchange) -> StepSeconds:
    """The parts of an optimizer step, each from the table of what it depends on."""
    kernel = joined(by["cut"], by["expert"], by["sequences"])
    tables = kernel_tables(job, work.at(kernel.rows))
    passage = joined(kernel, by["recompute"])
    passages = _passages(work.at(passage.rows), taken(tables, kernel.of[passage.rows]))
    slot = joined(by["pipeline"], by["virtual"], passage)
    slowest, busy, bubble = _slots(job, work.at(slot.rows), passages, passage.of[slot.rows])
    send = joined(by["pipeline"], by["cut"], by["data"], by["sequences"])
    hop = _hop(job, work.at(send.rows))
    step = StepSeconds(
        passes=np.empty((len(KINDS), len(work))),
        bubble=slot.spread(bubble),
        sends=np.empty(len(work)),
        data=np.empty(len(work)),
        optimizer=by["layout"].spread(exchange.optimizer_s),
        offload=np.broadcast_to(0.0, len(work)),
        engine=np.broadcast_to(job.stack.step, len(work)),
    )
    for rows in chunks(len(work)):
        chunk, at = work.at(rows), slot.of[rows]
        micro_batches, slot_s = chunk.micro_batches, np.take(busy, at)
        np.multiply(micro_batches, np.take(slowest, at, axis=-1), out=step.passes[:, rows])
        step.sends[rows] = hops_seconds(
            job,
            np.take(hop, send.of[rows]),
            pipeline=chunk.sizes.pipeline,
            micro_batches=micro_batches,
            virtual=chunk.sizes.virtual,
            beside=0.0 if is_gathered(job) else slot_s,
        )
        step.data[rows] = data_seconds(
            job,
            taken(exchange, by["layout"].of[rows]),
            chunk.sizes,
            slot_s=slot_s,
            micro_batches=micro_batches,
        )
    return step


def kernel_tables(job: Job, work: Work) -> Tables:
    """Seconds of what a step of each row consists of; a few rows are remembered, by job."""
    sizes = work.sizes
    columns = [np.asarray(size) for size in (sizes.tensor, sizes.context, sizes.expert, work.sequences)]
    if len(work) > _REMEMBERED or any(column.shape != (len(work),) for column in columns):
        return _kernel_tables(job, columns)
    return _remembered_tables(job, *((column.dtype.str, column.tobytes()) for column in columns))


@lru_cache(maxsize=32)
def _remembered_tables(job: Job, *columns: tuple[str, bytes]) -> Tables:
    tables = _kernel_tables(job, [np.frombuffer(data, dtype=kind) for kind, data in columns])
    for part in (tables.dense, tables.sparse, tables.ends):
        for each in fields(part):
            np.asarray(getattr(part, each.name)).setflags(write=False)
    return tables


def _kernel_tables(job: Job, columns: Sequence[Any]) -> Tables:
    tensor, context, expert, sequences = columns
    return tables_of(job, tensor=tensor, context=context, expert=expert, sequences=sequences)


def _passages(work: Work, tables: Tables) -> Passages:
    return training_passages(tables.dense, tables.sparse, tables.ends, recompute=work.recompute)


def _slots(job: Job, work: Work, passages: Passages, of: Numbers32) -> tuple[Floats, Floats, Floats]:
    """(Seconds of one micro-batch on the slowest stage by kind, all together, seconds that the stage idles).

    Parameters
    ----------
    of
        The passage of each row.
    """
    slowest, bubble = np.empty((len(KINDS), len(work))), np.empty(len(work))
    for rows in chunks(len(work)):
        sizes = work.at(rows).sizes
        one = slots(job, taken(passages, of[rows]), pipeline=sizes.pipeline, virtual=sizes.virtual)
        slowest[:, rows], bubble[rows] = schedule_seconds(one, micro_batches=1, virtual=sizes.virtual)
    return slowest, slowest.sum(0), bubble


def _hop(job: Job, work: Work) -> Floats:
    sizes = work.sizes
    on = pipeline_channel(job, sizes)
    seconds = hop_seconds(job, on, tensor=sizes.tensor, context=sizes.context, sequences=work.sequences)
    return np.broadcast_to(seconds, len(work))


def state_bytes(job: Job, work: Work, by: Mapping[str, Groups], *, is_trained: bool) -> dict[str, Whole]:
    """What lives on the fullest device during the whole iteration."""
    states = states_at if is_trained else frozen_states
    alike = joined(by["layout"], by["virtual"])
    return greatest_bytes(job, work, alike, lambda some: partial(states, job, some.sizes))


def _step_bytes(setting: Setting, work: Work, by: Mapping[str, Groups]) -> dict[str, Whole]:
    job = setting.job

    def kept_of(some: Work) -> Callable[[Numbers], Kept]:
        batch = some.kept
        one = training_pass(job, some.sizes, batch, some.recompute)

        def kept_at(stage: Numbers) -> Kept:
            layers = stage_layers_of(job, some.sizes, stage)
            return stage_kept(one, some.sizes, batch, stage=stage, layers=layers)

        return kept_at

    names = ("pipeline", "cut", "virtual", "total", "budget", "recompute")
    alike = joined(*(by[name] for name in names))
    return greatest_bytes(job, work, alike, kept_of) | {
        "gathered": unit_bytes(job, work, by, backward=True),
        "engine": np.broadcast_to(job.stack.reserved, len(work)),
    }


def unit_bytes(job: Job, work: Work, by: Mapping[str, Groups], *, backward: bool) -> Whole:
    """Of units gathered whole where parameters are fully sharded."""
    alike = joined(by["tensor"], by["expert"])
    whole = gathered_bytes(job, work.at(alike.rows).sizes, backward=backward)
    return alike.spread(np.ceil(whole).astype(np.int64))


def greatest_bytes(
    job: Job, work: Work, alike: Groups, record_of: Callable[[Work], Callable[[Numbers], States | Kept]]
) -> dict[str, Whole]:
    """The kinds of the stage with most bytes, the first of those with as many."""
    found: dict[str, list[Whole]] = {}
    for rows in chunks(len(alike)):
        some = work.at(alike.rows[rows])
        sizes, record_at = some.sizes, record_of(some)
        stages = fullest_stages(job.model, pipeline=sizes.pipeline, virtual=sizes.virtual)
        greatest, *others = (_kinds(record_at(stage)) for stage in stages)
        for kinds in others:
            is_greater = sum(kinds.values()) > sum(greatest.values())
            greatest = {kind: np.where(is_greater, kinds[kind], greatest[kind]) for kind in kinds}
        for kind, count in greatest.items():
            found.setdefault(kind, []).append(np.ceil(np.broadcast_to(count, len(some))).astype(np.int64))
    return {kind: alike.spread(np.concatenate(counts)) for kind, counts in found.items()}


def _kinds(record: States | Kept) -> dict[str, Numbers]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
