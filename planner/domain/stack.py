"""Software stacks: what an engine adds to the kernels that it launches.

A device is physics, a stack is software. Files lie in ``profiles/stacks/training`` and
``profiles/stacks/generation``.
"""

from typing import Literal

from pydantic import Field

from planner.domain.fits import FitRecord
from planner.domain.quantities import Bytes, PositiveInt, Seconds, Value

Sharding = Literal["none", "optimizer", "gradients", "full"]
"""What data-parallel ranks cut among themselves: ZeRO stages 0 to 3 (1910.02054); full is FSDP."""


RankOrder = Literal["pipeline-data", "data-pipeline"]
"""Which ranks are neighbours after those of a tensor and context group."""


class TrainingStack(Value):
    """A training engine; its constants are those of the engine on a busy device, whatever the device."""

    name: str
    aliases: tuple[str, ...] = ()
    sharding: Sharding = "optimizer"
    flash_attention: bool = True
    sequence_parallel: bool = True
    """With tensor parallelism, whether activations between its blocks are cut over the tensor group."""
    order: RankOrder = "pipeline-data"
    gradient_bytes: int = Field(default=4, ge=1, le=8)
    """Of one element where gradients are accumulated and reduced."""
    optimizer_bytes: int | None = Field(default=None, ge=1, le=16)
    """Of one parameter's states under 16 bits; none for two fp32 moments and an fp32 copy."""
    vocabulary_multiple: PositiveInt = 1
    """Rows of the embedding on each tensor rank are padded to a multiple of this (Megatron-LM's
    ``make_vocab_size_divisible_by``)."""
    sustained: float = Field(default=1.0, gt=0, le=1)
    """Speed of kernels inside a long job over that of the same kernels alone."""
    gradient_overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of gradient and parameter communication hidden behind computation where there is enough."""
    tensor_overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of the tensor group's collectives hidden behind computation."""
    pipeline_overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of the sends between interleaved chunks hidden behind computation."""
    layer_launch: Seconds = 0.0
    """The host's time to launch one layer forward; a layer takes at least as long."""
    step: Seconds = 0.0
    """Per optimizer step, whatever its size."""
    reserved: Bytes = 0
    """Buffers and allocator slack of the engine on each device, beside the device's own ``reserved``."""
    record: FitRecord | None = None
    sources: tuple[str, ...] = ()


class GenerationStack(Value):
    """A serving engine."""

    name: str
    aliases: tuple[str, ...] = ()
    step: Seconds
    """The engine's own work per decode step, whatever the batch: scheduling, launching."""
    sequence: Seconds = 0.0
    """The same per sequence of the batch: its block table, sampling, detokenizing."""
    layer_launch: Seconds = 0.0
    """Per layer, where no graph replays it."""
    graph_sequences: int = Field(default=512, ge=0)
    """Decode batches up to this size replay a captured graph."""
    prefill_tokens: PositiveInt = 8192
    """Tokens of one prefill pass (vLLM's ``max_num_batched_tokens``)."""
    chunked: bool = True
    """Whether a prompt may be cut between two passes."""
    memory_share: float = Field(default=0.9, gt=0, le=1)
    """Of the device, for weights and cache (vLLM's ``gpu_memory_utilization``)."""
    sustained: float = Field(default=1.0, gt=0, le=1)
    """Speed of kernels inside a long job over that of the same kernels alone."""
    wake: Seconds = 0.0
    """Reloading buffers and restarting the engine, once per weight sync."""
    record: FitRecord | None = None
    """Of the seconds per output token."""
    first_token: FitRecord | None = None
    """Of the seconds to the first token, in which requests queue."""
    sources: tuple[str, ...] = ()


class Stack(Value):
    """The engines of a scenario."""

    training: TrainingStack
    generation: GenerationStack
