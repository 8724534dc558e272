"""A call before it is sent: which rows of its fields each rank reads, and which samples it answers for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from planner.domain.dataflow import CallKind, Option
from planner.domain.workload import Workload
from runtime.batch import Batch, Future, Samples
from runtime.transfer import (
    Protocol,
    Ranks,
    distribute_mini_batches,
    in_groups,
    one_to_all,
    rank_zero,
    three_d_all_micro_dp,
    three_d_proto,
    three_d_weights,
)

PROTOCOLS: Mapping[CallKind, Protocol] = {
    "generate": three_d_all_micro_dp,
    "infer": three_d_proto,
    "train": three_d_proto,
    "numeric": rank_zero,
    "send": three_d_weights,
    "receive": one_to_all,
}
"""Transfer protocol of each kind of call."""

Rows = tuple[int, ...]
"""Numbers of samples in their iteration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A call with its inputs and outputs, before it is cut up over the ranks."""

    name: str
    method: str
    kind: CallKind
    batch: Batch
    inputs: tuple[str, ...]
    """Fields of the batch that it reads."""
    samples: Samples
    """Those of its outputs."""
    outputs: Mapping[str, Future] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    pretraining: Future | None = None
    """Sequences that it learns from beside the batch."""
    sequences: int = 0
    """How many of those there are."""

    @property
    def is_ready(self) -> bool:
        """Whether it is known which samples it reads and where they lie."""
        samples, fields = self.batch.samples, self.batch.fields
        return samples.is_known and all(fields[name].covers(samples.rows) for name in self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """A call, cut up over the ranks."""

    rows: Sequence[tuple[Rows, ...]]
    """By rank: samples of its outputs, by mini-batch of an update, else in one piece."""
    read: Sequence[Rows]
    """By rank: rows of the fields that it reads."""
    answering: tuple[int, ...]
    """Ranks whose outputs are the result."""
    pretraining: Sequence[tuple[Rows, ...]] = ()
    """By rank: sequences that it learns from beside its samples, by mini-batch."""

    def whole(self, rank: int) -> Rows:
        """All samples of a rank."""
        return sum(self.rows[rank], ())


def share_out(entry: Entry, ranks: Ranks, workload: Workload) -> Shares:
    """Cut a call up over the ranks by the protocol of its kind."""
    protocol, samples = PROTOCOLS[entry.kind], entry.batch.samples
    answering = protocol.collect(ranks)
    if entry.kind == "generate":
        return _prompts(samples, entry.samples, ranks, workload)
    if entry.kind == "send":
        shards = [(answering.index(rank),) if rank in answering else () for rank in range(ranks.count)]
        return Shares(rows=[(shard,) for shard in shards], read=shards, answering=answering)
    mini_batches = workload.mini_batches if entry.kind == "train" else 1
    cut = partial(distribute_mini_batches, protocol, mini_batches=mini_batches, ranks=ranks)
    positions, numbers = cut(samples.weights()), samples.rows
    rows = [tuple(tuple(numbers[place] for place in piece) for piece in pieces) for pieces in positions]
    return Shares(
        rows=rows,
        read=[sum(pieces, ()) for pieces in rows],
        answering=answering,
        pretraining=cut([1] * entry.sequences),
    )


def _prompts(dealt: Samples, made: Samples, ranks: Ranks, workload: Workload) -> Shares:
    """Prompts with all their samples, in equal numbers; those beyond an iteration's stay under way."""
    protocol, size = three_d_all_micro_dp, workload.samples_per_prompt
    numbers = dealt.rows if made.each == 1 else dealt.rows[:: made.each]
    size = 1 if made.each > 1 else size
    answered = numbers[: len(numbers) - dealt.extra]
    read = in_groups(protocol, len(numbers), size=size, ranks=ranks)
    wanted = in_groups(protocol, len(answered), size=size, ranks=ranks)
    return Shares(
        rows=[(tuple(answered[place] for place in piece),) for piece in wanted],
        read=[tuple(numbers[place] for place in piece) for piece in read],
        answering=protocol.collect(ranks),
    )
