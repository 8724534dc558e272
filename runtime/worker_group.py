"""Handles of roles: calling a method of one returns futures at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray import ObjectRef

from planner.algorithms.trace import LOSS_READS, METHODS
from planner.domain.dataflow import CallKind, Option
from planner.domain.workload import Workload
from runtime.batch import Batch, Future, Piece, Samples, Shard, numbered
from runtime.schedule import PendingCall, Schedule
from runtime.sharing import Entry, Rows, Shares, share_out
from runtime.transfer import Ranks
from runtime.watch import SubmittedCall, Traffic
from runtime.workers.call import Call

WEIGHTS = "weights"
"""The field that a call of kind ``send`` writes, a row per shard."""


@dataclass(slots=True)
class Flight:
    """The calls of one iteration, from the moment that the algorithm makes them."""

    iteration: int
    calls: list[SubmittedCall] = field(default_factory=list)
    """Those that were submitted."""
    asked: list[SubmittedCall] = field(default_factory=list)
    """Calls of the source of prompts."""
    waiting: int = 0
    """Calls that were made and not submitted yet."""
    names: dict[str, int] = field(default_factory=dict)
    rounds: int = 1
    """Of generation, where samples of no use are replaced."""
    candidates: list[Callable[[Batch], Batch]] = field(default_factory=list)
    """The calls that make samples which may be dropped, each for further ones."""

    @property
    def is_over(self) -> bool:
        return not self.waiting and all(call.is_over for call in (*self.calls, *self.asked))

    def name(self, role: str, method: str) -> str:
        """Name of the next call of a role's method, as the dataflow graph names it."""
        plain = f"{role}.{method}"
        count = self.names[plain] = self.names.get(plain, 0) + 1
        return plain if count == 1 else f"{plain}#{count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """One role on the processes of its pool; ``group.values(batch)`` calls the role's method ``values``.

    Parameters
    ----------
    deal
        Asks the source of prompts for ``prompts`` or ``pretraining`` sequences with these numbers.
    rounds
        Of generation at most, where samples of no use are replaced.
    """

    role: str
    pool: str
    processes: Sequence[Any]
    ranks: Ranks
    workload: Workload
    schedule: Schedule
    flight: Flight
    traffic: Traffic
    deal: Callable[[str, range], Batch]
    rounds: int = 1

    def __getattr__(self, method: str) -> Callable[..., Batch]:
        if method not in METHODS:
            raise AttributeError(f"{self.role} has no method {method!r}; known: {', '.join(METHODS)}")
        return lambda batch, **options: self._make(method, batch, options)

    def send_weights(self) -> Batch:
        """Bring the role's weights out, as one field with a row per shard."""
        return self._transfer("send", Batch(Samples(()), {}), writes=(WEIGHTS,))

    def receive_weights(self, weights: Batch) -> Batch:
        """Take in what another role has sent."""
        return self._transfer("receive", weights, writes=())

    def _transfer(self, kind: CallKind, batch: Batch, *, writes: Sequence[str]) -> Batch:
        entry = Entry(
            name=self.flight.name(self.role, kind),
            method=kind,
            kind=kind,
            batch=batch,
            inputs=tuple(batch.fields),
            samples=Samples() if writes else batch.samples,
            outputs={name: Future() for name in writes},
        )
        self._enter(entry)
        return Batch(entry.samples, entry.outputs)

    def _make(self, method: str, batch: Batch, options: Mapping[str, Option]) -> Batch:
        definition = METHODS[method]
        samples = self._samples_after(method, batch.samples, options)
        entry = Entry(
            name=self.flight.name(self.role, method),
            method=method,
            kind=definition.kind,
            batch=batch,
            inputs=tuple(name for name in _wanted(method, batch, options) if name in batch.fields),
            samples=samples,
            outputs={name: Future(each=samples.each) for name in definition.writes},
            options=options,
            **(self._pretraining() if options.get("pretraining") else {}),
        )
        self._enter(entry)
        if samples.are_candidates:
            self.flight.candidates.append(lambda more: self._repeat(entry, more))
        return Batch(samples, {**batch.fields, **entry.outputs})

    def _samples_after(self, method: str, before: Samples, options: Mapping[str, Option]) -> Samples:
        """Which samples go on: new ones of a generation, those that are kept, or the same."""
        if method == "generate":
            is_greedy = options.get("do_sample") is False
            each = self.workload.samples_per_prompt if is_greedy else before.each
            return Samples(each=each, are_candidates=bool(options.get("resample")))
        if METHODS[method].kind == "numeric" and before.are_candidates:
            return Samples()
        return before

    def _pretraining(self) -> dict[str, Any]:
        sequences = self.workload.part("samples and pretraining").samples - self.workload.samples
        if not sequences:
            return {}
        dealt = self.deal("pretraining", range(sequences))
        return {"pretraining": dealt.fields["pretraining"], "sequences": sequences}

    def _enter(self, entry: Entry, *, again: bool = False) -> None:
        self.flight.waiting += 1
        call = PendingCall(
            name=entry.name,
            iteration=self.flight.iteration,
            pool=self.pool,
            is_ready=lambda: entry.is_ready,
            submit=lambda: self._submit(entry),
        )
        (self.schedule.insert if again else self.schedule.enter)(call)

    def _submit(self, entry: Entry) -> None:
        shares = share_out(entry, self.ranks, self.workload)
        submitted = SubmittedCall(
            pool=self.pool,
            role=self.role,
            name=entry.name,
            kind=entry.kind,
            ranks=self.ranks.count,
            then=lambda call: self._learn(entry, shares, call),
        )
        self.flight.calls.append(submitted)
        self.flight.waiting -= 1
        sent = [self._send(entry, shares, rank, submitted) for rank in range(self.ranks.count)]
        for column, future in enumerate(entry.outputs.values()):
            future.resolve(Shard(shares.whole(rank), sent[rank][column]) for rank in shares.answering)
        if entry.kind == "send":
            entry.samples.resolve(range(len(shares.answering)), {})

    def _send(self, entry: Entry, shares: Shares, rank: int, submitted: SubmittedCall) -> list[ObjectRef]:
        """Send one rank its call; references of the fields it returns."""
        pretraining = shares.pretraining[rank] if entry.pretraining is not None else ()
        call = Call(
            name=entry.name,
            role=self.role,
            method=entry.method,
            iteration=self.flight.iteration,
            rows=shares.rows[rank],
            options=entry.options,
            writes=tuple(entry.outputs),
            pretraining=pretraining,
            answers=rank in shares.answering,
        )
        inputs = {name: (entry.batch.fields[name], shares.read[rank]) for name in entry.inputs}
        if entry.pretraining is not None:
            inputs["pretraining"] = (entry.pretraining, sum(pretraining, ()))
        report, *fields = send(self.processes[rank], call, inputs)
        self.traffic.add(report, submitted, rank)
        return fields

    def _learn(self, entry: Entry, shares: Shares, call: SubmittedCall) -> None:
        """What the reports of a call say about its samples."""
        before, after = entry.batch.samples, entry.samples
        if entry.kind == "generate":
            tokens = {
                row: tokens
                for rank in shares.answering
                for row, tokens in zip(shares.whole(rank), call.of_ranks[rank].lengths, strict=True)
            }
            after.resolve(sorted(tokens), tokens)
        elif entry.kind == "numeric" and after is not before:
            kept = call.of_ranks[0].kept
            rows = before.rows if kept is None else [before.rows[place] for place in kept]
            if len(rows) < self.workload.samples and self.flight.rounds < self.rounds:
                self._refill(entry)
            else:
                after.resolve(rows, before.tokens)

    def _refill(self, entry: Entry) -> None:
        """Make as many candidates once more, and choose among all of them."""
        size = self.workload.part("candidates").samples
        more = self.deal("prompts", range(self.flight.rounds * size, (self.flight.rounds + 1) * size))
        self.flight.rounds += 1
        for repeat in self.flight.candidates:
            more = repeat(more)
        both = Batch(entry.batch.samples.joined(more.samples), entry.batch.fields)
        self._enter(replace(entry, batch=both), again=True)

    def _repeat(self, entry: Entry, more: Batch) -> Batch:
        """The same call for further samples; its rows go to the same fields."""
        samples = Samples(are_candidates=True) if entry.kind == "generate" else more.samples
        fields = more.fields if entry.kind == "generate" else entry.batch.fields
        self._enter(replace(entry, batch=Batch(more.samples, fields), samples=samples), again=True)
        return Batch(samples, {**entry.batch.fields, **entry.outputs})


def _wanted(method: str, batch: Batch, options: Mapping[str, Option]) -> tuple[str, ...]:
    if METHODS[method].kind == "generate":
        return tuple(batch.fields)
    return LOSS_READS[str(options["loss"])] if "loss" in options else METHODS[method].reads


def send(process: Any, call: Call, inputs: Mapping[str, tuple[Future, Rows]]) -> list[ObjectRef]:
    """Send a call to one process: references of its report and of the fields that it writes.

    Parameters
    ----------
    inputs
        Fields, each with the rows of it that the process gets.
    """
    refs: list[ObjectRef] = []
    pieces: dict[str, tuple[Piece, ...]] = {}
    for name, (future, rows) in inputs.items():
        pieces[name] = tuple(numbered(future.pieces(rows), future.shards, refs))
    call = replace(call, inputs=pieces)
    sent = process.call.options(num_returns=1 + len(call.writes)).remote(call, *refs)
    return sent if call.writes else [sent]
