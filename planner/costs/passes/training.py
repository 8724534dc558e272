"""Seconds of an update: pipelined gradients, their reduction, the optimizer.

`step_seconds` takes plain sizes, numbers or arrays that broadcast. Its expensive part, the tables of one
layer and of the ends, depends on (tensor, context, expert, sequences) alone; all else gathers from it.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.costs.links.collectives import Numbers
from planner.costs.passes.data_parallel import (
    Shards,
    Sizes,
    exposed_seconds,
    gather_seconds,
    pipeline_channel,
    shards,
    step_exchange_seconds,
)
from planner.costs.passes.ends import EndCosts, EndKernels, end_kernels, engine_ends
from planner.costs.passes.layer import LayerCosts, engine_layer
from planner.costs.passes.layer_kernels import LayerKernels, layer_kernels
from planner.costs.passes.optimizer import offload_seconds, optimizer_part, optimizer_seconds
from planner.costs.passes.pipeline import (
    hop_seconds,
    hops_seconds,
    schedule_seconds,
    slots,
    training_passages,
)
from planner.costs.setting import Job, Setting
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Offload, Recompute, RoleStrategy

RECOMPUTE: dict[Recompute, int] = {"none": 0, "selective": 1, "full": 2}
"""Codes of the modes, for arrays."""
OFFLOAD: dict[Offload, int] = {"none": 0, "optimizer": 1, "all": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """One micro-batch in the kernels of one layer of either kind and of the ends."""

    dense: LayerKernels
    sparse: LayerKernels
    ends: EndKernels


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """One micro-batch through one layer of either kind and through the ends."""

    dense: LayerCosts
    sparse: LayerCosts
    ends: EndCosts


def kernels_of(
    job: Job, *, tensor: Numbers, context: Numbers = 1, expert: Numbers = 1, sequences: Numbers
) -> Kernels:
    """What a step consists of; arguments are numbers, or arrays that broadcast."""
    cut = {"tensor": tensor, "context": context, "sequences": sequences}
    dense = layer_kernels(job, **cut, expert=expert)
    sparse = layer_kernels(job, **cut, expert=expert, is_sparse=True) if job.model.moe else dense
    return Kernels(dense=dense, sparse=sparse, ends=end_kernels(job, **cut))


def engine_tables(job: Job, kernels: Kernels) -> Tables:
    """What the job's engine makes of kernels."""
    dense = engine_layer(job, kernels.dense)
    sparse = engine_layer(job, kernels.sparse) if job.model.moe else dense
    return Tables(dense=dense, sparse=sparse, ends=engine_ends(job, kernels.ends))


def tables_of(
    job: Job, *, tensor: Numbers, context: Numbers = 1, expert: Numbers = 1, sequences: Numbers
) -> Tables:
    """Seconds of what a step consists of; arguments are numbers, or arrays that broadcast."""
    return engine_tables(
        job, kernels_of(job, tensor=tensor, context=context, expert=expert, sequences=sequences)
    )


@lru_cache(maxsize=65536)
def cached_tables(job: Job, tensor: int, context: int, expert: int, sequences: float) -> Tables:
    """`tables_of` for numbers."""
    return tables_of(job, tensor=tensor, context=context, expert=expert, sequences=sequences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a layout's step exchanges and updates, whatever its micro-batches."""

    held: Shards
    part: Numbers
    """Parameters that one rank updates."""
    optimizer_s: Numbers
    step_s: Numbers
    """Reducing gradients and gathering parameters once per step."""
    forward_s: Numbers
    """Gathering one layer's parameters, with every micro-batch; 0 unless they are sharded."""
    backward_s: Numbers
    """Gathering them again and reducing their gradients."""
    ends_s: Numbers
    """The same of the ends, which nothing runs beside."""


def exchange_of(job: Job, sizes: Sizes) -> Exchange:
    """Data-parallel communication and optimizer of a layout."""
    held = shards(job, sizes)
    part = optimizer_part(job, sizes, held)
    once = Exchange(
        held=held,
        part=part,
        optimizer_s=0.0 if job.is_frozen else optimizer_seconds(job, part),
        step_s=0.0,
        forward_s=0.0,
        backward_s=0.0,
        ends_s=0.0,
    )
    if not is_gathered(job):
        return replace(once, step_s=step_exchange_seconds(job, sizes))
    gathers = gather_seconds(job, sizes)
    again = gathers.layer if job.stack.sharding == "full" else 0.0
    return replace(
        once,
        forward_s=gathers.layer,
        backward_s=again + gathers.layer_reduce,
        ends_s=gathers.end + gathers.end_reduce,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """One optimizer step on the slowest rank, by what it waits for."""

    passes: NDArray[np.float64]
    """All micro-batches on the slowest stage, by `planner.costs.passes.layer.KINDS` in the first axis."""
    bubble: Numbers
    sends: Numbers
    data: Numbers
    """Exposed exchange of gradients and parameters."""
    optimizer: Numbers
    offload: Numbers
    engine: Numbers
    """The engine's own work once per step."""

    @property
    def total(self) -> Numbers:
        busy = self.passes.sum(0) + self.bubble + self.sends
        return busy + self.data + self.optimizer + self.offload + self.engine


def step_seconds(
    job: Job,
    tables: Tables,
    exchange: Exchange,
    sizes: Sizes,
    *,
    sequences: Numbers,
    micro_batches: Numbers,
    recompute: Numbers,
    offload: Numbers = 0,
) -> StepSeconds:
    """One optimizer step of ``micro_batches`` of ``sequences`` each on every replica.

    Parameters
    ----------
    tables
        For the same tensor, context and expert sizes and sequences.
    recompute, offload
        Codes of `RECOMPUTE` and `OFFLOAD`.
    """
    passages = training_passages(tables.dense, tables.sparse, tables.ends, recompute=recompute)
    one = slots(job, passages, pipeline=sizes.pipeline, virtual=sizes.virtual)
    passes, bubble = schedule_seconds(one, micro_batches=micro_batches, virtual=sizes.virtual)
    slot_s = one.slowest.sum(0)
    on = pipeline_channel(job, sizes)
    hop = hop_seconds(job, on, tensor=sizes.tensor, context=sizes.context, sequences=sequences)
    return StepSeconds(
        passes=passes,
        bubble=bubble,
        sends=hops_seconds(
            job,
            hop,
            pipeline=sizes.pipeline,
            micro_batches=micro_batches,
            virtual=sizes.virtual,
            beside=0.0 if is_gathered(job) else slot_s,
        ),
        data=data_seconds(job, exchange, sizes, slot_s=slot_s, micro_batches=micro_batches),
        optimizer=exchange.optimizer_s,
        offload=_offload_seconds(job, exchange, offload),
        engine=job.stack.step,
    )


def data_seconds(
    job: Job, exchange: Exchange, sizes: Sizes, *, slot_s: Numbers, micro_batches: Numbers
) -> Numbers:
    """Exposed exchange: once per step beside one micro-batch, or with each beside itself."""
    overlap = job.stack.gradient_overlap
    if not is_gathered(job):
        return exposed_seconds(exchange.step_s, beside=slot_s, overlap=overlap)
    layers = np.ceil(job.model.layers / np.asarray(sizes.pipeline))
    needed = layers * (exchange.forward_s + exchange.backward_s)
    return micro_batches * (exposed_seconds(needed, beside=slot_s, overlap=overlap) + exchange.ends_s)


def is_gathered(job: Job) -> bool:
    """Whether ranks exchange parameters or gradients with every micro-batch."""
    return job.stack.sharding in ("gradients", "full")


def _offload_seconds(job: Job, exchange: Exchange, offload: Numbers) -> Numbers:
    if isinstance(offload, int) and offload == 0:
        return 0.0
    weights = exchange.held.dense + exchange.held.experts
    code = np.asarray(offload)
    return offload_seconds(job, exchange.part * (code >= 1), weights * (code == 2))


def training_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """A whole update: every epoch's optimizer steps, each as long as the fullest one."""
    steps = setting.workload.epochs * setting.workload.mini_batches
    once, _ = scalar_exchange(setting.job, strategy.layout)
    step = optimizer_step_seconds(setting, strategy)
    moving = float(_offload_seconds(setting.job, once, OFFLOAD[strategy.offload]))
    return steps * (step - moving) + moving


def optimizer_step_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """One optimizer step on the fullest replica."""
    layout, job = strategy.layout, setting.job
    total = -(-setting.mini_batch // layout.data)
    sequences, micro_batches = micro_batches_of(job, strategy, total)
    exchange, sizes = scalar_exchange(job, layout)
    tables = cached_tables(job, layout.tensor, layout.context, layout.expert, sequences)
    return float(
        step_seconds(
            job,
            tables,
            exchange,
            sizes,
            sequences=sequences,
            micro_batches=micro_batches,
            recompute=RECOMPUTE[strategy.recompute],
            offload=OFFLOAD[strategy.offload],
        ).total
    )


def micro_batches_of(job: Job, strategy: RoleStrategy, sequences: int) -> tuple[float, float]:
    """(Sequences of a micro-batch, micro-batches) of a replica; packed where there is a budget of tokens."""
    one: float = min(strategy.micro_batch, sequences)
    if strategy.micro_batch_tokens:
        one = min(max(1.0, strategy.micro_batch_tokens / job.tokens), sequences)
    return one, -(-sequences // one)


@lru_cache(maxsize=65536)
def scalar_exchange(job: Job, layout: ParallelStrategy) -> tuple[Exchange, Sizes]:
    sizes = sizes_of(layout)
    return exchange_of(job, sizes), sizes


def sizes_of(layout: ParallelStrategy) -> Sizes:
    """A layout's sizes."""
    return Sizes(
        pipeline=layout.pipeline,
        tensor=layout.tensor,
        data=layout.data,
        virtual=layout.virtual,
        context=layout.context,
        expert=layout.expert,
    )
