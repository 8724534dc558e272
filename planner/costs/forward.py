"""One micro-batch through one pipeline stage: what training and inference both consist of."""

from dataclasses import dataclass

from planner.costs.collectives import Channel, all_reduce_seconds, channel, send_seconds
from planner.costs.kernels import elementwise_bytes, head_flops, layer_flops, roofline_seconds
from planner.costs.setting import Setting
from planner.domain.parallelism import ParallelStrategy


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSeconds:
    """Seconds of one micro-batch forward on one stage, by what bounds them."""

    compute: float
    """Matrices, attention and elementwise kernels."""
    communication: float
    overhead: float

    @property
    def total(self) -> float:
        return self.compute + self.communication + self.overhead


def stage_seconds(
    setting: Setting, layout: ParallelStrategy, *, sequences: int, flops_per_s: float
) -> list[StageSeconds]:
    """Forward seconds of the first and the last pipeline stage for one micro-batch.

    Matrices and attention compute or read the stage's weights, whichever is slower; elementwise kernels move
    activations. Two all-reduces of the activations per layer over the tensor group (Megatron-LM, 1909.08053,
    figure 4).
    """
    tokens = setting.workload.mean_tokens
    on = tensor_channel(setting, layout)
    reduce_s = 2 * all_reduce_seconds(on, sequences * tokens * setting.model.hidden * setting.element_bytes)
    layer = sequences * layer_flops(setting.model, tokens) / layout.tensor
    head = sequences * head_flops(setting.model, setting.head, tokens) / layout.tensor
    elementwise_s = (
        sequences * tokens * elementwise_bytes(setting.model, layout.tensor, setting.element_bytes)
    ) / setting.rates.memory_bytes_per_s
    return [
        StageSeconds(
            compute=roofline_seconds(
                stage.layers * layer + (head if stage.has_head else 0.0),
                stage.shard(layout.tensor) * setting.element_bytes,
                flops_per_s=flops_per_s,
                bytes_per_s=setting.rates.memory_bytes_per_s,
            )
            + stage.layers * elementwise_s,
            communication=stage.layers * reduce_s,
            overhead=stage.layers * setting.rates.overheads.layer,
        )
        for stage in setting.end_stages(layout.pipeline)
    ]


def hop_seconds(setting: Setting, layout: ParallelStrategy, *, sequences: int) -> float:
    """One micro-batch's activations from a stage to the next; each tensor rank sends its own slice.

    Megatron-LM's scatter/gather optimisation (Narayanan et al. 2104.04473, section 4.1).
    """
    on = channel(setting.rates, size=layout.pipeline, stride=layout.tensor, devices=layout.devices)
    elements = sequences * setting.workload.mean_tokens * setting.model.hidden
    return send_seconds(on, elements * setting.element_bytes / layout.tensor)


def tensor_channel(setting: Setting, layout: ParallelStrategy) -> Channel:
    """What a tensor group gets of the links."""
    return channel(setting.rates, size=layout.tensor, stride=1, devices=layout.devices)
