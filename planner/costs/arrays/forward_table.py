"""Seconds and bytes of very many layouts' forward passes; `planner.costs.arrays.table` has training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from planner.costs.arrays.grouping import Whole, joined, taken
from planner.costs.arrays.table import (
    Configurations,
    Floats,
    Work,
    greatest_bytes,
    kernel_tables,
    state_bytes,
    unit_bytes,
)
from planner.costs.memory.activations import Kept, forward_kept
from planner.costs.memory.rounding import Numbers
from planner.costs.passes.inference import forward_seconds
from planner.costs.passes.training import exchange_of
from planner.costs.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardTable:
    """What each configuration costs; every array has one entry per configuration."""

    seconds: Floats
    """Of one pass over all samples."""
    bytes: Mapping[str, Whole]
    """On the fullest device by kind, beside what the role always keeps."""
    parameters: Whole
    """What a role that is not trained always keeps there."""
    held: Floats
    """Parameters on one rank, as `planner.costs.passes.data_parallel.shards` counts them."""


def forward_table(setting: Setting, configurations: Configurations) -> ForwardTable:
    """`inference_seconds` and bytes of every configuration, nothing offloaded."""
    job = setting.job
    work = Work.of(setting, configurations, batch=setting.workload.samples)
    by = work.groups()
    kernel = joined(by["cut"], by["expert"], by["sequences"])
    tables = kernel_tables(job, work.at(kernel.rows))
    exchange = exchange_of(job, work.at(by["layout"].rows).sizes)
    seconds = forward_seconds(
        job,
        taken(tables, kernel.of),
        taken(exchange, by["layout"].of),
        work.sizes,
        sequences=work.sequences,
        micro_batches=work.micro_batches,
    )

    def kept_of(some: Work) -> Callable[[Numbers], Kept]:
        batch = some.kept
        return lambda stage: forward_kept(job, some.sizes, batch, stage)

    alike = joined(by["pipeline"], by["cut"], by["virtual"], by["total"], by["budget"])
    kept = greatest_bytes(job, work, alike, kept_of)
    return ForwardTable(
        seconds=np.broadcast_to(seconds, len(work)),
        bytes=kept | {"gathered": unit_bytes(job, work, by, backward=False)},
        parameters=state_bytes(job, work, by, is_trained=False)["parameters"],
        held=by["layout"].spread(exchange.held.dense + exchange.held.experts),
    )
