"""The update of a role: epochs of mini-batches, each one optimizer step over micro-batches.

Which samples form a mini-batch, and by what its loss is divided, does not depend on how the samples are
spread over replicas and micro-batches.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
import torch.distributed as dist

from runtime.engines.megatron import MegatronEngine
from runtime.losses import mini_batch_counts
from runtime.platform import current_device
from runtime.workers.call import Call

Fields = Mapping[str, torch.Tensor]


class Counts(NamedTuple):
    """What a mini-batch holds over all replicas."""

    tokens: int
    """Response tokens."""
    sequences: int
    pretraining_tokens: int = 0
    """Tokens of pretraining data beside the samples."""


MiniBatchLoss = Callable[[torch.Tensor, Fields, Counts], tuple[torch.Tensor, Mapping[str, torch.Tensor]]]
"""A micro-batch's share in the loss of a mini-batch of these counts, and its shares of the metrics."""


def update(
    engine: MegatronEngine, call: Call, fields: Fields, *, epochs: int, micro_batch: int, loss: MiniBatchLoss
) -> dict[str, float]:
    """Take all optimizer steps of one update; each metric's mean over the steps."""
    mini_batches = _mini_batches(call, fields)
    counts = _global_counts(mini_batches, replica_ranks=engine.layout.strategy.model_parallel)
    steps = [
        engine.update(
            _micro_batches(batch, micro_batch),
            lambda output, part, count=count: loss(output, part, count),
        )
        for _ in range(epochs)
        for batch, count in zip(mini_batches, counts, strict=True)
    ]
    return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}


def renamed(role: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of an update under verl's names."""
    names = {"learning_rate": "lr"}
    return {f"{role}/{names.get(name, name)}": value for name, value in metrics.items()}


def _mini_batches(call: Call, fields: Fields) -> list[Fields]:
    """This rank's rows of each mini-batch; they lie one after the other."""
    ends = list(accumulate((len(rows) for rows in call.rows), initial=0))
    return [{name: rows[start:stop] for name, rows in fields.items()} for start, stop in pairwise(ends)]


def _micro_batches(batch: Fields, size: int) -> list[Fields]:
    count = len(batch["tokens"])
    return [
        {"tokens_bs": batch["tokens"][start : start + size]}
        | {name: rows[start : start + size] for name, rows in batch.items() if name != "tokens"}
        for start in range(0, count, size)
    ]


def _global_counts(mini_batches: Sequence[Fields], *, replica_ranks: int) -> list[Counts]:
    """Counts over all replicas, each of which has ``replica_ranks`` ranks with the same samples."""
    own = [mini_batch_counts(batch["response_mask"][:, 1:]) for batch in mini_batches]
    total = torch.tensor(own, device=current_device())
    dist.all_reduce(total)
    return [Counts(tokens, sequences) for tokens, sequences in (total // replica_ranks).tolist()]
