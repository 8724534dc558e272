"""Measured training steps in arrays: rows of one job together, their kernels costed once."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from planner.calibration.training_rows import Measured
from planner.costs.passes.data_parallel import Sizes
from planner.costs.passes.training import (
    RECOMPUTE,
    Exchange,
    Kernels,
    engine_tables,
    exchange_of,
    kernels_of,
    step_seconds,
)
from planner.costs.setting import Job
from planner.domain.stack import TrainingStack

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that share their job, in arrays."""

    index: npt.NDArray[np.int64]
    """Where the rows stand in the list that they come from."""
    job: Job
    sizes: Sizes
    sequences: Floats
    micro_batches: Floats
    recompute: npt.NDArray[np.int64]
    kernels: Kernels
    exchange: Exchange


def batches_of(rows: Sequence[Measured]) -> list[Batch]:
    """The rows by job, in the order that the jobs first appear in."""
    groups: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(_job_key(row.job), []).append(index)
    return [_batch([rows[index] for index in indices], np.array(indices)) for indices in groups.values()]


def _job_key(job: Job) -> Hashable:
    pool = job.node_pool
    network = (pool.nodes, pool.devices_per_node, pool.network, pool.rails)
    stack = (job.stack.name, job.stack.sharding)
    return (job.model, job.precision, job.tokens, job.is_frozen, pool.device.name, network, stack)


def _batch(rows: Sequence[Measured], index: npt.NDArray[np.int64]) -> Batch:
    job = rows[0].job
    sizes = Sizes(**{name: np.array([getattr(row.sizes, name) for row in rows]) for name in Sizes.__slots__})
    sequences = np.array([row.sequences for row in rows], dtype=np.float64)
    return Batch(
        index=index,
        job=job,
        sizes=sizes,
        sequences=sequences,
        micro_batches=np.array([row.micro_batches for row in rows], dtype=np.float64),
        recompute=np.array([RECOMPUTE[row.recompute] for row in rows]),
        kernels=kernels_of(
            job, tensor=sizes.tensor, context=sizes.context, expert=sizes.expert, sequences=sequences
        ),
        exchange=exchange_of(job, sizes),
    )


def predicted_seconds(batches: Sequence[Batch], stack: TrainingStack | None = None) -> Floats:
    """Seconds of every row, in the order of the list that the batches come from.

    Parameters
    ----------
    stack
        Whose speeds, overlaps and host times count in the place of each job's own.
    """
    seconds = np.zeros(sum(len(batch.index) for batch in batches))
    for batch in batches:
        seconds[batch.index] = _seconds(batch, stack)
    return seconds


def _seconds(batch: Batch, stack: TrainingStack | None) -> Floats:
    own = batch.job.stack
    job = (
        replace(batch.job, stack=stack.model_copy(update={"sharding": own.sharding})) if stack else batch.job
    )
    step = step_seconds(
        job,
        engine_tables(job, batch.kernels),
        batch.exchange,
        batch.sizes,
        sequences=batch.sequences,
        micro_batches=batch.micro_batches,
        recompute=batch.recompute,
    )
    return np.broadcast_to(np.asarray(step.total, dtype=np.float64), batch.index.shape)
