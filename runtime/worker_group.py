"""Handles of roles: calling a method of one returns futures at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray import ObjectRef

from planner.algorithms.trace import LOSS_READS, METHODS
from planner.domain.dataflow import CallKind
from runtime.batch import Batch, Future, Piece, Shard, pieces_of
from runtime.schedule import PendingCall, Schedule
from runtime.transfer import (
    Protocol,
    Ranks,
    distribute_mini_batches,
    three_d_all_micro_dp,
    three_d_proto,
)
from runtime.watch import Origin
from runtime.workers.call import Call

PROTOCOLS: Mapping[CallKind, Protocol] = {
    "generate": three_d_all_micro_dp,
    "infer": three_d_proto,
    "train": three_d_proto,
    "numeric": three_d_proto,
}
"""Transfer protocol of each kind of call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedCall:
    """A call that is on its way."""

    pool: str
    role: str
    name: str
    kind: CallKind


@dataclass(slots=True)
class Flight:
    """The calls of one iteration that were submitted, and who owes which report."""

    iteration: int
    reports: dict[ObjectRef, Origin] = field(default_factory=dict)
    calls: list[SubmittedCall] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """One role on the processes of its pool; ``group.values(batch)`` calls the role's method ``values``."""

    role: str
    pool: str
    processes: Sequence[Any]
    ranks: Ranks
    mini_batches: int
    """Optimizer steps of one pass over the samples of an update."""
    schedule: Schedule
    flight: Flight

    def __getattr__(self, method: str) -> Callable[..., Batch]:
        if method not in METHODS:
            raise AttributeError(f"{self.role} has no method {method!r}; known: {', '.join(METHODS)}")
        return lambda batch, **options: self._enter(method, batch, options)

    def _enter(self, method: str, batch: Batch, options: Mapping[str, str]) -> Batch:
        wanted = LOSS_READS[options["loss"]] if "loss" in options else METHODS[method].reads
        entry = _Entry(
            name=self.schedule.name(self.role, method),
            method=method,
            options=options,
            samples=batch.samples,
            inputs={name: batch.fields[name] for name in wanted if name in batch.fields},
            outputs={name: Future() for name in METHODS[method].writes},
        )
        self.schedule.enter(
            PendingCall(
                name=entry.name,
                pool=self.pool,
                inputs=tuple(entry.inputs.values()),
                submit=lambda: self._submit(entry),
            )
        )
        return Batch(batch.samples, {**batch.fields, **entry.outputs})

    def _submit(self, entry: "_Entry") -> None:
        kind = METHODS[entry.method].kind
        protocol = PROTOCOLS[kind]
        mini_batches = self.mini_batches if kind == "train" else 1
        rows = distribute_mini_batches(protocol, entry.samples, mini_batches=mini_batches, ranks=self.ranks)
        answering = protocol.collect(self.ranks)
        sent = [self._send(entry, rank, rows[rank], rank in answering) for rank in range(self.ranks.count)]
        for column, future in enumerate(entry.outputs.values()):
            future.resolve([Shard(rows[rank][0], sent[rank][column]) for rank in answering])
        self.flight.calls.append(SubmittedCall(pool=self.pool, role=self.role, name=entry.name, kind=kind))

    def _send(self, entry: "_Entry", rank: int, rows: tuple[range, ...], answers: bool) -> list[ObjectRef]:
        """Send one rank its call; references of the fields it returns."""
        call = Call(
            name=entry.name,
            role=self.role,
            method=entry.method,
            iteration=self.flight.iteration,
            rows=rows,
            options=entry.options,
            writes=tuple(entry.outputs),
            answers=answers,
        )
        report, *fields = send(self.processes[rank], call, entry.inputs)
        self.flight.reports[report] = Origin(entry.name, self.role, rank)
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A call with its inputs and outputs, before it is cut up over the ranks."""

    name: str
    method: str
    options: Mapping[str, str]
    samples: int
    inputs: Mapping[str, Future]
    outputs: Mapping[str, Future]


def send(process: Any, call: Call, inputs: Mapping[str, Future]) -> list[ObjectRef]:
    """Send a call to one process: references of its report and of the fields that it writes."""
    pieces, refs = _inputs_of(inputs, call.rows)
    call = replace(call, inputs=pieces)
    sent = process.call.options(num_returns=1 + len(call.writes)).remote(call, *refs)
    return sent if call.writes else [sent]


def _inputs_of(
    inputs: Mapping[str, Future], rows: Sequence[range]
) -> tuple[dict[str, tuple[Piece, ...]], list[ObjectRef]]:
    """Pieces of each field, numbered into the list of those shards that this rank needs."""
    refs: list[ObjectRef] = []
    pieces: dict[str, tuple[Piece, ...]] = {}
    for name, future in inputs.items():
        pieces[name] = tuple(_numbered(pieces_of(future.shards, rows), future.shards, refs))
    return pieces, refs


def _numbered(pieces: Sequence[Piece], shards: Sequence[Shard], refs: list[ObjectRef]) -> Iterator[Piece]:
    for piece in pieces:
        ref = shards[piece.shard].ref
        if ref not in refs:
            refs.append(ref)
        yield Piece(refs.index(ref), piece.start, piece.stop)
