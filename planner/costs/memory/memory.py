"""Bytes on the fullest device of a role, by kind."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from planner.costs.memory.activations import Batch, Kept, Pass, forward_kept, stage_kept, training_pass
from planner.costs.memory.generation_memory import generation_bytes as generation_bytes
from planner.costs.memory.parameters import embedding_elements, layer_tensors
from planner.costs.memory.rounding import Numbers, ceil_div, greater
from planner.costs.memory.stages import fullest_stages
from planner.costs.memory.states import States, frozen_states, stage_layers_of, states_at
from planner.costs.passes.data_parallel import Sizes
from planner.costs.passes.inference import forward_only
from planner.costs.passes.training import RECOMPUTE, sizes_of
from planner.costs.setting import Job, Setting
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Offload, RoleStrategy

OFFLOADED: dict[Offload, tuple[str, ...]] = {
    "none": (),
    "optimizer": ("optimizer",),
    "all": ("parameters", "gradients", "optimizer"),
}
"""Kinds that live in host memory between the role's calls."""


def persistent_bytes(
    setting: Setting, layout: ParallelStrategy, *, is_trained: bool, offload: Offload = "none"
) -> dict[str, int]:
    """What lives on the fullest device during the whole iteration.

    A trained role keeps parameters, gradients and optimizer states, sharded as its engine does. Other roles
    keep parameters only (HybridFlow, section 8.1).
    """
    states = _state_bytes(setting.job, layout, is_trained)
    return {kind: count for kind, count in states.items() if kind not in OFFLOADED[offload]}


def host_bytes(
    setting: Setting, layout: ParallelStrategy, *, offload: Offload, is_trained: bool = True
) -> dict[str, int]:
    """What a role keeps in host memory for each device; of one that is not trained ``all`` are weights."""
    states = _state_bytes(setting.job, layout, is_trained)
    return {kind: count for kind, count in states.items() if kind in OFFLOADED[offload]}


def training_bytes(setting: Setting, strategy: RoleStrategy) -> dict[str, int]:
    """What one optimizer step needs on the fullest stage, beside what is persistent.

    Offloaded states come back for it.
    """
    layout = strategy.layout
    batch = _batch(setting, strategy, ceil_div(setting.mini_batch, layout.data))
    moved = host_bytes(setting, layout, offload=strategy.offload)
    return moved | transient_bytes(
        setting.job, sizes_of(layout), batch, recompute=RECOMPUTE[strategy.recompute]
    )


def inference_bytes(setting: Setting, strategy: RoleStrategy) -> dict[str, int]:
    """What a pass over all samples needs on the fullest stage; nothing is kept for a backward pass.

    Weights that are offloaded come back for it.
    """
    return dict(_inference_bytes(setting, forward_only(strategy), strategy.train is not None))


@lru_cache(maxsize=65536)
def _inference_bytes(setting: Setting, strategy: RoleStrategy, is_trained: bool) -> Mapping[str, int]:
    layout, job = strategy.layout, setting.job
    batch = _batch(setting, strategy, ceil_div(setting.workload.samples, layout.data))
    sizes = sizes_of(layout)
    kinds = _greatest(job, sizes, lambda stage: _kinds(forward_kept(job, sizes, batch, stage)))
    moved = host_bytes(setting, layout, offload=strategy.offload, is_trained=is_trained)
    weights = {kind: count for kind, count in moved.items() if kind == "parameters"}
    return weights | _whole({**kinds, "gathered": gathered_bytes(job, sizes, backward=False)})


def transient_bytes(job: Job, sizes: Sizes, batch: Batch, *, recompute: Numbers) -> dict[str, int]:
    """What one optimizer step needs on the stage that needs most, whatever else lies there."""
    one = training_pass(job, sizes, batch, recompute)
    kinds = _greatest(job, sizes, lambda stage: _kinds(_kept_at(job, one, sizes, batch, stage)))
    own = {"gathered": gathered_bytes(job, sizes, backward=True), "engine": job.stack.reserved}
    return _whole({**kinds, **own})


def peak_training_bytes(job: Job, sizes: Sizes, batch: Batch, *, recompute: Numbers) -> Numbers:
    """Bytes that a training job allocates at its peak on its fullest device.

    Without what the driver, the device's context and the engine's own buffers take (``DeviceSpec.reserved``,
    ``TrainingStack.reserved``), as an engine's allocator reports it. Sizes may be arrays that broadcast.
    """
    one = training_pass(job, sizes, batch, recompute)
    peak: Numbers = 0
    for stage in fullest_stages(job.model, pipeline=sizes.pipeline, virtual=sizes.virtual):
        layers = stage_layers_of(job, sizes, stage)
        states = states_at(job, sizes, stage, layers)
        kept = stage_kept(one, sizes, batch, stage=stage, layers=layers)
        peak = greater(peak, states.total + kept.total)
    return np.ceil(peak + gathered_bytes(job, sizes, backward=True)).astype(np.int64)


def fits(job: Job, sizes: Sizes, batch: Batch, *, recompute: Numbers) -> Numbers:
    """Whether a device has room for a training job's peak."""
    room = job.device.usable_memory - job.stack.reserved
    return peak_training_bytes(job, sizes, batch, recompute=recompute) <= room


def gathered_bytes(job: Job, sizes: Sizes, *, backward: bool) -> Numbers:
    """Whole parameters of two units at once, one in use and one on its way, where they are fully sharded.

    In the backward pass one unit's whole gradients as well (FSDP, 2304.11277, section 3.3).
    """
    if job.stack.sharding != "full":
        return 0
    layer = layer_tensors(job.model, is_sparse=job.model.moe is not None)
    unit = layer.shared.elements(sizes.tensor)
    if job.model.moe:
        unit = unit + ceil_div(layer.experts, sizes.expert) * layer.expert.elements(sizes.tensor)
    table = embedding_elements(job.model, sizes.tensor, job.stack.vocabulary_multiple)
    greatest = greater(unit, table)
    gradients = greatest * job.stack.gradient_bytes if backward and not job.is_frozen else 0
    return (unit + greatest) * job.element_bytes + gradients


@lru_cache(maxsize=65536)
def _state_bytes(job: Job, layout: ParallelStrategy, is_trained: bool) -> Mapping[str, int]:
    sizes = sizes_of(layout)
    states_of: Callable[[Job, Sizes, Numbers], States] = states_at if is_trained else frozen_states
    kinds = ("parameters", "gradients", "optimizer") if is_trained else ("parameters",)
    return _whole(
        _greatest(
            job,
            sizes,
            lambda stage: {kind: getattr(states_of(job, sizes, stage), kind) for kind in kinds},
        ),
        keep_zeros=True,
    )


def _batch(setting: Setting, strategy: RoleStrategy, total: int) -> Batch:
    """Micro-batches of the greatest length; a budget of tokens that one sequence exceeds takes it alone."""
    tokens = setting.workload.maximum_tokens
    sequences: float = strategy.micro_batch
    if strategy.micro_batch_tokens:
        sequences = max(1.0, strategy.micro_batch_tokens / tokens)
    return Batch(sequences=sequences, total=total, tokens=tokens)


def _kinds(kept: Kept) -> dict[str, Numbers]:
    return {
        "activations": kept.activations,
        "logits": kept.logits,
        "workspace": kept.workspace,
        "exchange": kept.exchange,
    }


def _greatest(
    job: Job, sizes: Sizes, kinds_of: Callable[[Numbers], dict[str, Numbers]]
) -> dict[str, Numbers]:
    """The kinds of the stage with most bytes, of one layout."""
    stages = fullest_stages(job.model, pipeline=sizes.pipeline, virtual=sizes.virtual)
    return max((kinds_of(stage) for stage in dict.fromkeys(map(int, stages))), key=_sum)


def _kept_at(job: Job, one: Pass, sizes: Sizes, batch: Batch, stage: int) -> Kept:
    return stage_kept(one, sizes, batch, stage=stage, layers=stage_layers_of(job, sizes, stage))


def _sum(kinds: Mapping[str, Numbers]) -> Numbers:
    return sum(kinds.values())


def _whole(kinds: Mapping[str, Numbers], *, keep_zeros: bool = False) -> dict[str, int]:
    """Bytes rounded up; kinds that take none are left out."""
    counts = {kind: int(np.ceil(count)) for kind, count in kinds.items()}
    return {kind: count for kind, count in counts.items() if count or keep_zeros}
