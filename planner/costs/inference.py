"""Seconds of a forward pass over the iteration's samples: values, log-probabilities, scores."""

import math

from planner.costs.forward import hop_seconds, stage_seconds
from planner.costs.setting import Setting
from planner.domain.plan import RoleStrategy


def inference_seconds(setting: Setting, strategy: RoleStrategy) -> float:
    """All samples forward once, on the fullest replica.

    m micro-batches leave a pipeline of p stages after m + p - 1 slots of the slowest stage
    (GPipe, 1811.06965, section 2.3). Padding is taken to be removed: sequences count their mean length.
    """
    layout = strategy.layout
    sequences = math.ceil(setting.workload.samples / layout.data)
    micro_batch = min(strategy.micro_batch, sequences)
    slots = math.ceil(sequences / micro_batch) + layout.pipeline - 1
    stages = stage_seconds(
        setting, layout, sequences=micro_batch, flops_per_s=setting.rates.inference_flops_per_s
    )
    slowest = max(stage.total for stage in stages)
    return slots * (slowest + hop_seconds(setting, layout, sequences=micro_batch))
