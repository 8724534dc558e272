"""Weight sync from training to generation: bytes of three engines, seconds of HybridFlow's."""

from functools import lru_cache

from planner.costs.collectives import Channel, all_gather_seconds, group_channel
from planner.costs.setting import Setting
from planner.costs.stages import Stage, stages_of
from planner.domain.cluster import NodePool
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy, micro_replicas


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


def reshard_seconds(setting: Setting, train: ParallelStrategy, generate: GenerationStrategy) -> float:
    """One weight sync: the engine's fixed work, and the all-gather inside each micro-DP group.

    The fixed part reloads the generation buffer and restarts the engine (HybridFlow, sections 5.2 and 7).
    """
    received = reshard_elements(
        setting.model, train.pipeline, train.tensor, generate.pipeline, generate.tensor
    )
    on = _gather_channel(setting.node_pool, train, generate)
    share = max(on.size, 2) / (max(on.size, 2) - 1)
    moving = float(all_gather_seconds(on, received * setting.element_bytes * share))
    return setting.stack.generation.wake + moving


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
    return max(0, stage.split // to_tensor - own.split // tensor + stage.whole - own.whole)


def _gather_channel(node_pool: NodePool, train: ParallelStrategy, generate: GenerationStrategy) -> Channel:
    """What a micro-DP group gets of the links.

    Its ranks are consecutive along tensor and pipeline, so it spans (p / p_g) t neighbours, or t / t_g when
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
    local = max(1, min(stages, node // block)) * shards
    return group_channel(node_pool, size=size, local=local, sharing=max(1, node // local))
