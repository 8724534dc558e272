"""Seconds of a forward pass over the iteration's samples: values, log-probabilities, scores."""

from functools import lru_cache

import numpy as np

from planner.costs.links.collectives import Numbers
from planner.costs.passes.data_parallel import Sizes, exposed_seconds, pipeline_channel
from planner.costs.passes.optimizer import onload_seconds
from planner.costs.passes.pipeline import forward_passages, hop_seconds, hops_seconds, schedule_seconds, slots
from planner.costs.passes.training import Exchange, Tables, cached_tables, micro_batches_of, scalar_exchange
from planner.costs.setting import Job, Setting
from planner.domain.plan import RoleStrategy


def inference_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """All samples forward once, on the fullest replica; offloaded weights come to the device before."""
    return _inference_seconds(setting, forward_only(strategy))


def forward_only(strategy: RoleStrategy) -> RoleStrategy:
    """What a forward pass depends on: not on what training recomputes, nor on how the role generates."""
    return RoleStrategy(
        infer=strategy.layout,
        micro_batch=strategy.micro_batch,
        micro_batch_tokens=strategy.micro_batch_tokens,
        offload=strategy.offload,
    )


@lru_cache(maxsize=65536)
def _inference_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    layout, job = strategy.layout, setting.job
    total = -(-setting.workload.samples // layout.data)
    sequences, micro_batches = micro_batches_of(job, strategy, total)
    exchange, sizes = scalar_exchange(job, layout)
    tables = cached_tables(job, layout.tensor, layout.context, layout.expert, sequences)
    seconds = forward_seconds(job, tables, exchange, sizes, sequences=sequences, micro_batches=micro_batches)
    if strategy.offload == "all":
        weights = (exchange.held.dense + exchange.held.experts) * job.element_bytes
        seconds = seconds + onload_seconds(job, weights)
    return float(seconds)


def forward_seconds(
    job: Job,
    tables: Tables,
    exchange: Exchange,
    sizes: Sizes,
    *,
    sequences: Numbers,
    micro_batches: Numbers,
) -> Numbers:
    """``micro_batches`` of ``sequences`` each through every replica; numbers or arrays that broadcast.

    m micro-batches leave a pipeline of p stages after m + p - 1 slots (GPipe, 1811.06965, section 2.3).
    """
    one = slots(job, forward_passages(tables.dense, tables.sparse, tables.ends), pipeline=sizes.pipeline)
    passes, bubble = schedule_seconds(one, micro_batches=micro_batches)
    on = pipeline_channel(job, sizes)
    hop = hop_seconds(job, on, tensor=sizes.tensor, context=sizes.context, sequences=sequences, ways=1)
    sends = hops_seconds(job, hop, pipeline=sizes.pipeline, micro_batches=micro_batches)
    layers = np.ceil(job.model.layers / np.asarray(sizes.pipeline))
    gather = exposed_seconds(
        layers * exchange.forward_s, beside=one.slowest.sum(0), overlap=job.stack.gradient_overlap
    )
    return passes.sum(0) + bubble + sends + micro_batches * gather
