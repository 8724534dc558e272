"""Seconds of an update: 1F1B pipeline, tensor and data parallelism, distributed optimizer."""

import math

from planner.costs.collectives import all_gather_seconds, channel, reduce_scatter_seconds
from planner.costs.forward import StageSeconds, hop_seconds, stage_seconds
from planner.costs.setting import Setting
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Recompute, RoleStrategy

GRADIENT_BYTES = 4
"""fp32 gradients in either precision (Megatron's main gradients; HybridFlow, section 8.1)."""

OPTIMIZER_BYTES = {"bf16": 12, "fp32": 8}
"""Adam's two fp32 moments, and under bf16 an fp32 master copy (ZeRO, 1910.02054, section 3.1)."""


def training_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """A whole update: every epoch's optimizer steps, each as long as the fullest one."""
    steps = setting.workload.epochs * setting.workload.mini_batches
    return steps * optimizer_step_seconds(setting, strategy)


def optimizer_step_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """One optimizer step: pipelined gradients, their reduction, and the sharded update."""
    layout = strategy.layout
    return (
        gradient_seconds(setting, strategy)
        + synchronization_seconds(setting, layout)
        + optimizer_seconds(setting, layout)
    )


def gradient_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """Forward and backward of one mini-batch on the fullest replica.

    1F1B takes m + p - 1 slots of the slowest stage for m micro-batches (Narayanan et al. 2104.04473,
    section 2.2.1); each slot sends activations one way and gradients the other.
    """
    layout = strategy.layout
    sequences = math.ceil(setting.mini_batch / layout.data)
    micro_batch = min(strategy.micro_batch, sequences)
    slots = math.ceil(sequences / micro_batch) + layout.pipeline - 1
    stages = stage_seconds(
        setting, layout, sequences=micro_batch, flops_per_s=setting.rates.training_flops_per_s
    )
    slowest = max(_slot_seconds(stage, strategy.recompute) for stage in stages)
    return slots * (slowest + 2 * hop_seconds(setting, layout, sequences=micro_batch))


def _slot_seconds(forward: StageSeconds, recompute: Recompute) -> float:
    """Forward and backward of one micro-batch on one stage.

    The backward pass multiplies twice per parameter and token, and reduces activations as often as the
    forward pass; full recomputation adds one forward (Korthikanti et al. 2205.05198, section 5).
    """
    forwards = 2 if recompute == "full" else 1
    return (
        (forwards + 2) * forward.compute
        + (forwards + 1) * forward.communication
        + (forwards + 2) * forward.overhead
    )


def synchronization_seconds(setting: Setting, layout: ParallelStrategy) -> float:
    """Reduce-scatter of gradients and all-gather of parameters over the data-parallel ranks, not overlapped.

    The distributed optimizer's two collectives per step (ZeRO stage 1, 1910.02054, section 5; Megatron-Core).
    """
    on = channel(setting.rates, size=layout.data, stride=layout.model_parallel, devices=layout.devices)
    shard = _largest_shard(setting, layout)
    return reduce_scatter_seconds(on, shard * GRADIENT_BYTES) + all_gather_seconds(
        on, shard * setting.element_bytes
    )


def optimizer_seconds(setting: Setting, layout: ParallelStrategy) -> float:
    """Adam on one rank's part of the optimizer state: read gradient and state, write state and parameter."""
    part = _largest_shard(setting, layout) / layout.data
    moved = GRADIENT_BYTES + 2 * OPTIMIZER_BYTES[setting.precision] + setting.element_bytes
    return part * moved / setting.rates.memory_bytes_per_s


def _largest_shard(setting: Setting, layout: ParallelStrategy) -> int:
    return max(stage.trained_shard(layout.tensor) for stage in setting.end_stages(layout.pipeline))
