"""Micro-batches through the pipeline schedule, forward and back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import finalize_model_grads
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.transformer.module import MegatronModule
from megatron.core.utils import unwrap_model

from planner.domain.model import Head
from planner.domain.parallelism import ParallelStrategy
from runtime.engines import sequences
from runtime.engines.layout import Layout
from runtime.platform import current_device

Batch = Mapping[str, torch.Tensor]
Evaluate = Callable[[torch.Tensor, Batch], tuple[torch.Tensor, Any]]
"""From a micro-batch's outputs, whole rows, to its share of the loss and what is to be kept of it."""

_NO_TOKENS = torch.zeros(1, 2, dtype=torch.long)
"""What is run where there is no sample to run; nothing is made of it."""


def run(
    chunks: Sequence[MegatronModule],
    batches: Sequence[Batch],
    evaluate: Evaluate,
    *,
    layout: Layout,
    head: Head,
    temperature: float,
    forward_only: bool,
) -> list[Any]:
    """Run the schedule; what is kept of each micro-batch, on the last stage. Call inside ``with layout``.

    Logits are divided by the temperature, or by a micro-batch's own number ``temperature``.
    """
    runs = _with_empty(batches, layout.strategy)
    if not runs:
        if not forward_only:
            finalize_model_grads(list(chunks))
        return []
    kept = get_forward_backward_func()(
        forward_step_func=partial(_step, evaluate, layout, head, temperature),
        data_iterator=[iter(runs) for _ in chunks],
        model=list(chunks),
        num_microbatches=len(runs),
        seq_length=1,  # shapes are sent with what goes from stage to stage
        micro_batch_size=1,
        forward_only=forward_only,
    )
    return kept[: len(batches)]


def _with_empty(batches: Sequence[Batch], strategy: ParallelStrategy) -> list[Batch | None]:
    """The micro-batches, and as many without a sample as it takes to run them together.

    Ranks that share experts run equally many, and an interleaved pipeline runs as many at a time as it has
    stages.
    """
    count = len(batches)
    if strategy.expert > 1:
        most = torch.tensor(count, device=current_device())
        group = parallel_state.get_data_parallel_group(with_context_parallel=True)
        dist.all_reduce(most, op=dist.ReduceOp.MAX, group=group)
        count = int(most)
    if strategy.virtual > 1:
        count += -count % strategy.pipeline
    return [*batches, *[None] * (count - len(batches))]


def _step(
    evaluate: Evaluate,
    layout: Layout,
    head: Head,
    temperature: float,
    batches: Iterator[Batch | None],
    module: MegatronModule,
) -> tuple[torch.Tensor, Callable[..., Any]]:
    """One micro-batch's forward pass, and what to make of its output on the last stage."""
    batch = next(batches)
    tokens_bs = (_NO_TOKENS if batch is None else batch["tokens_bs"]).to(current_device())
    labels_bs = None
    unwrap_model(module).temperature = float((batch or {}).get("temperature", temperature))
    if head == "vocabulary":
        tokens_bs, labels_bs = tokens_bs[:, :-1], _own_part(tokens_bs[:, 1:], layout)
    length = tokens_bs.shape[1]
    tokens_bs = _own_part(tokens_bs, layout)
    positions_bs = torch.arange(tokens_bs.shape[1], device=tokens_bs.device).expand_as(tokens_bs)
    output = module(tokens_bs, positions_bs, None, labels=labels_bs)

    def finish(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Any]:
        result = -output if head == "vocabulary" else output.squeeze(-1)
        rows_bs = sequences.whole(result.float(), parallel_state.get_context_parallel_group())[:, :length]
        share, kept = (0 * rows_bs.sum(), None) if batch is None else evaluate(rows_bs, _moved(batch))
        return share, torch.zeros((), dtype=torch.int, device=output.device), kept

    return output, finish


def _own_part(rows_bs: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The rows, padded, and of them what this rank holds."""
    strategy = layout.strategy
    padded_bs = sequences.padded(rows_bs, sequences.length_multiple(strategy))
    return sequences.own_part(padded_bs, layout.at.context, strategy.context).contiguous()


def _moved(batch: Batch) -> Batch:
    """All tensors of a micro-batch on the device."""
    return {name: value.to(current_device()) for name, value in batch.items()}


def sums_over_replicas(metrics: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, float]:
    """Sums over micro-batches and data-parallel ranks, known to every rank; call inside ``with layout``."""
    own: dict[str, float] = {}
    for batch in metrics:
        for name, value in batch.items():
            own[name] = own.get(name, 0.0) + float(value)
    group = parallel_state.get_data_parallel_group()
    of_ranks: list[Any] = [None] * group.size()
    dist.all_gather_object(of_ranks, own, group=group)
    total: dict[str, float] = {}
    for rank_metrics in of_ranks:
        for name, value in rank_metrics.items():
            total[name] = total.get(name, 0.0) + value
    box = [total]
    stages = parallel_state.get_pipeline_model_parallel_group()
    dist.broadcast_object_list(box, parallel_state.get_pipeline_model_parallel_last_rank(), group=stages)
    return box[0]
