"""Software stacks: what an engine adds to the kernels that it launches.

A device is physics, a stack is software. Files lie in ``profiles/stacks/training`` and
``profiles/stacks/generation``.
"""

from typing import Literal

from pydantic import Field

from planner.domain.fits import FitRecord
from planner.domain.model import Precision
from planner.domain.quantities import Bytes, PositiveInt, Seconds, Value

Sharding = Literal["none", "optimizer", "gradients", "full"]
"""What data-parallel ranks cut among themselves: ZeRO stages 0 to 3 (1910.02054); full is FSDP."""


ANY = "any"
"""The key of what holds wherever nothing more special is known."""

RankOrder = Literal["pipeline-data", "data-pipeline"]
"""Which ranks are neighbours after those of a tensor and context group."""

Resharding = Literal["micro-data", "everywhere", "none"]
"""How a role's training weights come to its serving engine (HybridFlow, table 1 and section 5.4).

``micro-data``: gathered inside micro-DP groups, p_g divides p and t_g divides t (HybridFlow).
``everywhere``: whole layers gathered over all devices, once for each batch of prompts, into any t_g
(DeepSpeed-Chat). ``none``: the engine generates with the training weights where they lie, p_g = p and t_g = t
(NeMo-Aligner).
"""


class Speeds(Value):
    """Speed of kernels inside a long job over that of the device's kernels alone."""

    products: float = Field(default=0.9, gt=0, le=1.25)
    """Linear maps; above 1 where the engine's library beats the one that was measured alone."""
    attention: float = Field(default=0.9, gt=0, le=1)
    """Between its projections."""
    streams: float = Field(default=0.8, gt=0, le=1)
    """Norms, residuals, activations: 1 where they move no byte twice, less where they are not fused."""
    ends: float = Field(default=0.9, gt=0, le=1.25)
    """Embedding, head and loss."""


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
    speeds: dict[str, Speeds] = Field(default_factory=lambda: {ANY: Speeds()})
    """By architecture, or architecture and precision (``hopper/fp8``); ``any`` for all others."""
    gradient_overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of gradient and parameter communication hidden behind computation where there is enough."""
    tensor_overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of the tensor group's collectives hidden behind computation."""
    pipeline_overlap: float = Field(default=0.0, ge=0, le=1)
    """Share of the sends between interleaved chunks hidden behind computation."""
    layer_launch: Seconds = 0.0
    """The host's time to launch one layer one way; a layer takes at least as long."""
    rank_wait: float = Field(default=0.0, ge=0, le=1)
    """By how much each further rank of a tensor group lengthens that, as all wait for the slowest host."""
    send: Seconds = 0.0
    """The host's time around one send between stages."""
    step: Seconds = 0.0
    """Per optimizer step, whatever its size."""
    onload: float = Field(default=0.07, gt=0, le=1)
    """Share of the host link at which offloaded weights come back before a weight sync."""
    reserved: Bytes = 0
    """Buffers and allocator slack of the engine on each device, beside the device's own ``reserved``."""
    record: FitRecord | None = None
    sources: tuple[str, ...] = ()

    def speeds_on(self, architecture: str, precision: Precision) -> Speeds:
        """How fast kernels run on devices of an architecture."""
        for key in (f"{architecture}/{precision}", architecture, ANY):
            if key in self.speeds:
                return self.speeds[key]
        return Speeds()


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
    max_sequences: PositiveInt | None = None
    """Sequences that one replica decodes at once at most (vLLM's ``max_num_seqs``); none for what fits."""
    device_sequences: PositiveInt | None = None
    """The same for each of the replica's devices (DeepSpeed-Chat's ``per_device_generation_batch_size``)."""
    memory_share: float = Field(default=0.9, gt=0, le=1)
    """Of the device, for weights and cache (vLLM's ``gpu_memory_utilization``)."""
    sustained: float = Field(default=1.0, gt=0, le=1)
    """Speed of kernels that compute, inside a long job over alone; those that only read run as fast."""
    wake: Seconds = 0.0
    """Restarting the engine, once per weight sync."""
    tensor_sync: Seconds = 0.0
    """Taking in one tensor of a weight sync."""
    reload: float | None = Field(default=None, gt=0, le=1)
    """Share of the host link at which weight buffers come back; none where ``wake`` has it."""
    resharding: Resharding = "micro-data"
    """How weights come from a training layout on the same devices."""
    keeps_cache: bool = True
    """Whether keys and values are kept; without, each new token's whole context passes the model again."""
    tensor_call: Seconds = 0.0
    """Announcing one tensor of a sync from other devices to one replica, one replica after the other."""
    record: FitRecord | None = None
    """Of the seconds per output token."""
    first_token: FitRecord | None = None
    """Of the seconds to the first token, in which requests queue."""
    sources: tuple[str, ...] = ()


class Stack(Value):
    """The engines of a scenario."""

    training: TrainingStack
    generation: GenerationStack
