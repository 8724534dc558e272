"""The update of a role: epochs of mini-batches, each one optimizer step over micro-batches.

Which samples form a mini-batch, and by what its loss is divided, does not depend on how the samples are
spread over replicas and micro-batches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.nn.utils.rnn import pad_sequence

from runtime.engines.megatron import MegatronEngine
from runtime.engines.micro_batches import MicroBatch, micro_batches
from runtime.losses import mini_batch_counts
from runtime.platform import current_device
from runtime.workers.call import Call

Fields = Mapping[str, torch.Tensor]
PRETRAINING = "pretraining"
"""The field of an update's pretraining data: token lists, this replica's share of all mini-batches."""


class Counts(NamedTuple):
    """What a mini-batch holds over all replicas."""

    tokens: int
    """Response tokens."""
    sequences: int
    pretraining_tokens: int = 0
    """Tokens of pretraining data beside the samples."""


MiniBatchLoss = Callable[[torch.Tensor, Fields, Counts], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]
"""A micro-batch's share in the loss of a mini-batch of these counts, and its shares of the metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatchSize:
    """What is computed at once."""

    rows: int
    tokens: int | None = None
    """Padded tokens, in the place of rows."""

    def parts(self, lengths: Sequence[int]) -> Iterator[MicroBatch]:
        """Cut rows of these lengths."""
        return micro_batches(lengths, rows=self.rows, token_budget=self.tokens)


def update(
    engine: MegatronEngine,
    call: Call,
    fields: Mapping[str, Any],
    *,
    epochs: int,
    size: MicroBatchSize,
    loss: MiniBatchLoss,
) -> dict[str, float]:
    """Take all optimizer steps of one update; each metric's mean over the steps that have it.

    A mini-batch without a token to learn from, on any replica, is no step.
    """
    mini_batches = _mini_batches(call, fields)
    pretraining = _pretraining(call, fields.get(PRETRAINING, []))
    counts = _global_counts(mini_batches, pretraining, replicas=engine.layout.strategy.data)
    steps = [
        engine.update(
            [*_samples(batch, count, size), *_documents(documents, size)],
            lambda output, part, count=count: loss(output, part, count),
        )
        for _ in range(epochs)
        for batch, documents, count in zip(mini_batches, pretraining, counts, strict=True)
        if count.tokens or count.pretraining_tokens
    ]
    return _means(steps)


def sample_lengths(response_mask_bs: torch.Tensor) -> list[int]:
    """Tokens of each row up to its last response token; of a row without one, as few as can be computed.

    >>> sample_lengths(torch.tensor([[False, True, True, False], [False, False, False, False]]))
    [3, 2]
    """
    columns = torch.arange(1, response_mask_bs.shape[1] + 1)
    least = min(2, response_mask_bs.shape[1])
    return (columns * response_mask_bs).amax(dim=1).clamp(min=least).tolist()


def renamed(role: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of an update under verl's names."""
    names = {"learning_rate": "lr"}
    return {f"{role}/{names.get(name, name)}": value for name, value in metrics.items()}


def _means(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for step in steps:
        for name, value in step.items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _mini_batches(call: Call, fields: Mapping[str, Any]) -> list[Fields]:
    """This rank's rows of each mini-batch; they lie one after the other."""
    samples = {name: rows for name, rows in fields.items() if name != PRETRAINING}
    ends = list(accumulate((len(rows) for rows in call.rows), initial=0))
    return [{name: rows[start:stop] for name, rows in samples.items()} for start, stop in pairwise(ends)]


def _pretraining(call: Call, documents: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    """This rank's documents of each mini-batch, which lie likewise; one token alone teaches nothing."""
    sizes = [len(numbers) for numbers in call.pretraining] or [0] * len(call.rows)
    ends = list(accumulate(sizes, initial=0))
    pieces = [documents[start:stop] for start, stop in pairwise(ends)]
    return [[document for document in piece if len(document) > 1] for piece in pieces]


def _samples(batch: Fields, count: Counts, size: MicroBatchSize) -> list[Fields]:
    if not count.tokens:
        return []
    return [_cut(batch, part) for part in size.parts(sample_lengths(batch["response_mask"]))]


def _cut(batch: Fields, part: MicroBatch) -> Fields:
    """Some rows of all fields, tokens under the engine's name, without the columns behind the longest."""
    width = batch["tokens"].shape[1]
    chosen = {
        name: _columns(rows[part.rows], width, part.length) if torch.is_tensor(rows) else _picked(rows, part)
        for name, rows in batch.items()
    }
    return {"tokens_bs": chosen.pop("tokens")} | chosen


def _columns(rows: torch.Tensor, width: int, length: int) -> torch.Tensor:
    """Per-token fields have a column for each token, or one less where they speak of the next token."""
    if rows.dim() < 2 or rows.shape[1] not in (width, width - 1):
        return rows
    return rows[:, : length - (width - rows.shape[1])]


def _picked(rows: Any, part: MicroBatch) -> Any:
    return [rows[row] for row in part.rows]


def _documents(documents: Sequence[Sequence[int]], size: MicroBatchSize) -> list[Fields]:
    """Micro-batches of pretraining data: text, which is not sampled; the mask says what is no padding."""
    return [
        _document_rows([documents[row] for row in part.rows])
        for part in size.parts([len(document) for document in documents])
    ]


def _document_rows(documents: Sequence[Sequence[int]]) -> Fields:
    tokens_bs = pad_sequence([torch.tensor(document) for document in documents], batch_first=True)
    lengths = torch.tensor([len(document) for document in documents])
    mask_bs = torch.arange(tokens_bs.shape[1]) < lengths[:, None]
    return {"tokens_bs": tokens_bs, "pretraining_mask": mask_bs, "temperature": torch.ones(())}


def _global_counts(
    mini_batches: Sequence[Fields], pretraining: Sequence[Sequence[Sequence[int]]], *, replicas: int
) -> list[Counts]:
    """Counts over all replicas, each of which has as many ranks with the same samples."""
    own = [
        (*mini_batch_counts(batch["response_mask"][:, 1:]), sum(len(each) - 1 for each in documents))
        for batch, documents in zip(mini_batches, pretraining, strict=True)
    ]
    total = torch.tensor(own, device=current_device())
    dist.all_reduce(total)
    return [Counts(*counts) for counts in (total // (dist.get_world_size() // replicas)).tolist()]
