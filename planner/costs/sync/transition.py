"""The transition from training to generation inside one pool: bytes, seconds and peak of three engines.

HybridFlow's engine gathers inside micro-DP groups, its vanilla grouping (HybridFlow-V) inside training
replicas, DeepSpeed-Chat layer by layer over all devices (HybridFlow, section 5.4 and table 2).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from planner.costs.links.collectives import Channel, Numbers, all_gather_seconds, channel, group_channel
from planner.costs.memory.rounding import ceil_div, lesser
from planner.costs.memory.stages import Stage, kinds_of_stages, stages_of
from planner.costs.setting import Setting
from planner.domain.cluster import NodePool
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy, micro_replicas
from planner.domain.plan import Offload
from planner.domain.weights import weight_tensors

Engine = Literal["hybridflow", "hybridflow-v", "deepspeed-chat"]

GATHERS = 4
"""Times that DeepSpeed-Chat gathers all layers in one transition ("several": HybridFlow, section 8.4). With
so many HybridFlow's transition of 70B is 71 % shorter, as its figure 14 says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One weight sync, on the device that it is worst for."""

    bytes: float
    """Received from other devices."""
    seconds: float
    peak_bytes: float
    """Weights of the generation layout while it is made, those kept for training not counted."""
    redundant_bytes: float
    """Training weights kept beside the generation weights because they do not lie inside them."""


def transition(
    setting: Setting, train: ParallelStrategy, generate: GenerationStrategy, *, engine: Engine = "hybridflow"
) -> Transition:
    """The transition of a whole model in one engine."""
    weights = setting.model.parameters() * setting.element_bytes
    if engine == "hybridflow":
        return Transition(
            bytes=_received_elements(setting.model, train, generate) * setting.element_bytes,
            seconds=reshard_seconds(setting, train, generate),
            peak_bytes=generation_shard_bytes(setting, generate),
            redundant_bytes=0.0,
        )
    fixed = engine_seconds(setting, generate)
    if engine == "hybridflow-v":
        return Transition(
            bytes=vanilla_bytes(weights, train),
            seconds=fixed + float(all_gather_seconds(_replica_channel(setting.node_pool, train), weights)),
            peak_bytes=weights,
            redundant_bytes=vanilla_redundant_bytes(weights, train),
        )
    return Transition(
        bytes=deepspeed_chat_bytes(weights, train),
        seconds=fixed + GATHERS * float(layers_gather_seconds(setting, train.devices)),
        peak_bytes=weights,
        redundant_bytes=deepspeed_chat_redundant_bytes(weights, train),
    )


def deepspeed_chat_bytes(weight_bytes: float, train: ParallelStrategy) -> float:
    """Bytes that a device of DeepSpeed-Chat receives, (tpd - 1) / (tpd) M (HybridFlow, table 2)."""
    return (train.devices - 1) / train.devices * weight_bytes


def vanilla_bytes(weight_bytes: float, train: ParallelStrategy) -> float:
    """Bytes that a device of HybridFlow-V receives, (tp - 1) / (tp) M (HybridFlow, table 2)."""
    return (train.model_parallel - 1) / train.model_parallel * weight_bytes


def hybridflow_bytes(weight_bytes: float, train: ParallelStrategy, generate: GenerationStrategy) -> float:
    """Bytes that a device of HybridFlow receives, (d_g - 1) / (tp) M (HybridFlow, table 2)."""
    return (micro_replicas(train, generate) - 1) / train.model_parallel * weight_bytes


def deepspeed_chat_redundant_bytes(weight_bytes: float, train: ParallelStrategy) -> float:
    """Training weights kept beside DeepSpeed-Chat's full copy, M / (tpd) (HybridFlow, table 2)."""
    return weight_bytes / train.devices


def vanilla_redundant_bytes(weight_bytes: float, train: ParallelStrategy) -> float:
    """Training weights kept beside HybridFlow-V's generation weights, M / (tp) (HybridFlow, table 2)."""
    return weight_bytes / train.model_parallel


def reshard_seconds(
    setting: Setting, train: ParallelStrategy, generate: GenerationStrategy, *, offload: Offload = "none"
) -> float:
    """One weight sync, as the serving engine takes weights in: its own work, and what is gathered.

    In micro-DP groups, context-parallel ranks hold the same weights, each with groups of its own. Routed
    experts that training spreads are gathered over the expert ranks as well.
    """
    if setting.stack.generation.resharding == "micro-data":
        sizes = (generate.pipeline, generate.tensor, generate.replicas)
        return _reshard_seconds(setting, train, sizes, offload)
    returning = onload_seconds(setting, train) if offload == "all" else 0.0
    return engine_seconds(setting, generate) + returning + _moving_seconds(setting, generate)


def _moving_seconds(setting: Setting, generate: GenerationStrategy) -> float:
    """Of an engine without micro-DP groups."""
    if setting.stack.generation.resharding == "none":
        return 0.0
    batches = prompt_batches(setting, generate.replicas, generate.max_sequences)
    return float(batches * layers_gather_seconds(setting, generate.devices))


def prompt_batches(setting: Setting, replicas: Numbers, max_sequences: Numbers) -> Numbers:
    """Batches of prompts that a replica is handed one after the other; numbers or arrays.

    DeepSpeed-Chat's engine gathers its layers anew for each (DeepSpeed, runtime/hybrid_engine.py).
    """
    sequences = ceil_div(setting.workload.samples, replicas)
    return ceil_div(sequences, lesser(max_sequences, sequences))


def layers_gather_seconds(setting: Setting, devices: Numbers) -> Numbers:
    """All layers of the model gathered over so many devices, one after the other.

    Each receives (n - 1) / n of the weights (HybridFlow, table 2).
    """
    weights = setting.model.parameters() * setting.element_bytes
    everywhere = channel(setting.node_pool, size=devices, stride=1, devices=devices)
    return setting.model.layers * all_gather_seconds(everywhere, weights / setting.model.layers)


@lru_cache(maxsize=65536)
def _reshard_seconds(
    setting: Setting, train: ParallelStrategy, sizes: tuple[int, int, int], offload: Offload
) -> float:
    pipeline, tensor, replicas = sizes
    generate = GenerationStrategy(pipeline=pipeline, tensor=tensor, replicas=replicas, max_sequences=1)
    on = _gather_channel(setting.node_pool, train, generate)
    moving = _gather_seconds(on, _missing_bytes(setting, train, generate))
    if train.expert > 1:
        moving += _gather_seconds(_expert_channel(setting.node_pool, train), _expert_bytes(setting, train))
    returning = onload_seconds(setting, train) if offload == "all" else 0.0
    return engine_seconds(setting, generate) + returning + moving


def engine_seconds(setting: Setting, generate: GenerationStrategy) -> float:
    """What the serving engine takes to get ready, wherever its new weights come from.

    Its fixed work (HybridFlow, sections 5.2 and 7), its handling of each tensor, and where its buffers left
    the device, their return over the host link.
    """
    engine = setting.stack.generation
    seconds = engine.wake + tensor_count(setting.model) * engine.tensor_sync
    if engine.reload is None:
        return seconds
    rate = engine.reload * setting.device.host_link.bandwidth
    return seconds + generation_shard_bytes(setting, generate) / rate


def onload_seconds(setting: Setting, train: ParallelStrategy) -> float:
    """Return of offloaded training weights over the host link."""
    rate = setting.stack.training.onload * setting.device.host_link.bandwidth
    return training_shard_bytes(setting, train) / rate


def training_shard_bytes(setting: Setting, train: ParallelStrategy) -> int:
    """Weights of the fullest training stage on one device."""
    stages = kinds_of_stages(setting.model, setting.head, train.pipeline)
    shard = max(stage.shard(train.tensor, expert=train.expert) for stage in stages)
    return shard * setting.element_bytes


def generation_shard_bytes(setting: Setting, generate: GenerationStrategy) -> int:
    """Weights of the fullest generation stage on one device."""
    stages = kinds_of_stages(setting.model, setting.head, generate.pipeline)
    return max(stage.shard(generate.tensor) for stage in stages) * setting.element_bytes


@lru_cache(maxsize=256)
def tensor_count(model: ModelSpec) -> int:
    """Weights of a model, as files and engines name them."""
    return sum(1 for _ in weight_tensors(model))


@lru_cache(maxsize=65536)
def reshard_elements(model: ModelSpec, pipeline: int, tensor: int, to_pipeline: int, to_tensor: int) -> int:
    """Parameters that the neediest rank receives: its generation shard less its own training shard.

    Equal to the greatest `planner.domain.resharding.reshard_volume` of all ranks where tensors split evenly.
    """
    train = stages_of(model, "vocabulary", pipeline)
    share = pipeline // to_pipeline
    return max(
        _missing(stage, own, tensor, to_tensor)
        for index, stage in enumerate(stages_of(model, "vocabulary", to_pipeline))
        for own in train[index * share : (index + 1) * share]
    )


def _missing(stage: Stage, own: Stage, tensor: int, to_tensor: int) -> int:
    """Experts count as if training did not spread them."""
    needed = (stage.split + stage.experts) // to_tensor + stage.whole
    return max(0, needed - (own.split + own.experts) // tensor - own.whole)


def _received_elements(model: ModelSpec, train: ParallelStrategy, generate: GenerationStrategy) -> int:
    missing = reshard_elements(model, train.pipeline, train.tensor, generate.pipeline, generate.tensor)
    return missing + _spread_experts(model, train)


def _missing_bytes(setting: Setting, train: ParallelStrategy, generate: GenerationStrategy) -> int:
    missing = reshard_elements(
        setting.model, train.pipeline, train.tensor, generate.pipeline, generate.tensor
    )
    return missing * setting.element_bytes


def _expert_bytes(setting: Setting, train: ParallelStrategy) -> int:
    return _spread_experts(setting.model, train) * setting.element_bytes


def _spread_experts(model: ModelSpec, train: ParallelStrategy) -> int:
    """Parameters of the routed experts of a rank's stage that other expert ranks hold."""
    most = max(stage.experts for stage in stages_of(model, "vocabulary", train.pipeline))
    return most // train.tensor * (train.expert - 1) // train.expert


def _gather_seconds(on: Channel, received: int) -> float:
    """An all-gather in which each rank receives so many bytes."""
    size = int(on.size)
    return float(all_gather_seconds(on, received * size / (size - 1))) if size > 1 else 0.0


def _gather_channel(node_pool: NodePool, train: ParallelStrategy, generate: GenerationStrategy) -> Channel:
    """What a micro-DP group gets of the links.

    Its ranks are consecutive along tensor and pipeline, so it spans (p / p_g) t c neighbours, or t / t_g when
    p_g = p. Groups that span nodes share each node's network; as many as a node's ranks belong to.
    """
    size = micro_replicas(train, generate)
    stages = train.pipeline // generate.pipeline
    shards = train.tensor // generate.tensor
    block = train.tensor * train.context
    span = stages * block if stages > 1 else shards
    node = node_pool.devices_per_node
    if size == 1 or train.devices <= node or node % span == 0:
        return group_channel(node_pool, size=size, local=size, sharing=1)
    local = min(size, max(1, min(stages, node // block)) * shards)
    return group_channel(node_pool, size=size, local=local, sharing=max(1, node // local))


def _replica_channel(node_pool: NodePool, train: ParallelStrategy) -> Channel:
    """What the tensor and pipeline ranks of one replica get of the links; one group per context rank."""
    size, node = train.model_parallel, node_pool.devices_per_node
    if train.devices <= node or node % (size * train.context) == 0:
        return group_channel(node_pool, size=size, local=size, sharing=1)
    sharing = min(train.context, node)
    return group_channel(node_pool, size=size, local=min(size, node // sharing), sharing=sharing)


def _expert_channel(node_pool: NodePool, train: ParallelStrategy) -> Channel:
    """What the expert ranks get of the links: they stand a tensor group apart."""
    return channel(node_pool, size=train.expert, stride=train.tensor, devices=train.devices)
