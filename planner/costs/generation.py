"""Seconds of generation: prefill, and decode steps in waves under a limit of sequences.

`step_seconds` is the one description of a decode step; what integrates it, in closed form here or event
by event elsewhere, differs only in which sequences it has decode together.
"""

import math
from dataclasses import dataclass

from planner.costs.collectives import Channel, all_reduce_seconds, channel, send_seconds
from planner.costs.kernels import head_flops, layer_flops, roofline_seconds
from planner.costs.setting import Setting
from planner.costs.stages import Stage
from planner.domain.parallelism import GenerationStrategy

PREFILL_TOKENS = 8192
"""Prompt tokens of one prefill pass (vLLM's default ``max_num_batched_tokens``)."""

DRAIN_POINTS = 16
"""Midpoints at which the last wave's decline is sampled."""


def generation_seconds(setting: Setting, generate: GenerationStrategy) -> float:
    """All responses on the fullest replica, without the weight sync.

    Depends on nothing of the training layout. Prompts count their mean length.
    """
    sequences = math.ceil(setting.workload.samples / generate.replicas)
    return prefill_seconds(setting, generate, sequences) + decode_seconds(setting, generate, sequences)


def prefill_seconds(setting: Setting, generate: GenerationStrategy, sequences: int) -> float:
    """Prompts of one replica through its stages, in passes of `PREFILL_TOKENS`; compute-bound."""
    prompt = setting.workload.prompt_tokens.mean
    at_once = min(sequences, max(1, int(PREFILL_TOKENS // prompt)))
    passes = math.ceil(sequences / at_once)
    stage = _widest_stage(setting, generate)
    on, hop = _channels(setting, generate)
    message = at_once * prompt * setting.model.hidden * setting.element_bytes
    compute = roofline_seconds(
        at_once * stage.layers * layer_flops(setting.model, prompt) / generate.tensor,
        stage.shard(generate.tensor) * setting.element_bytes,
        flops_per_s=setting.rates.prefill_flops_per_s,
        bytes_per_s=setting.rates.memory_bytes_per_s,
    )
    reduce_s = 2 * stage.layers * all_reduce_seconds(on, message)
    launch = stage.layers * setting.rates.overheads.layer
    slots = passes + generate.pipeline - 1
    return slots * (compute + reduce_s + launch + send_seconds(hop, message / generate.tensor))


def decode_seconds(setting: Setting, generate: GenerationStrategy, sequences: int) -> float:
    """Responses of one replica, in waves of at most ``max_sequences``.

    Response lengths are taken as maximum x Beta(1, k) with k = maximum / mean - 1, whose survival function
    is (1 - x / maximum)^k: k = 0 is equal lengths, larger k a longer tail. All waves but the last keep their
    slots full for the mean length, since a finished sequence makes room for a waiting one; the last wave
    drains until the longest response is done. Exact for equal lengths.
    """
    slots = min(generate.max_sequences, sequences)
    waves = math.ceil(sequences / slots)
    last = sequences - (waves - 1) * slots
    step = StepModel.of(setting, generate)
    responses = setting.workload.response_tokens
    spread = responses.maximum / responses.mean - 1
    prompt = setting.workload.prompt_tokens.mean
    full_context = prompt + _mean_progress(responses.maximum, spread)
    full = (waves - 1) * responses.mean * step.seconds(slots, full_context)
    return full + _drain_seconds(step, last, prompt, responses.maximum, spread)


def _mean_progress(maximum: int, spread: float) -> float:
    """Response tokens behind a running sequence, on average: E[L (L - 1)] / 2 E[L] = max / (k + 2) - 1/2."""
    return maximum / (spread + 2) - 0.5


def _drain_seconds(step: "StepModel", sequences: int, prompt: float, maximum: int, spread: float) -> float:
    if spread == 0:
        return maximum * step.seconds(sequences, prompt + (maximum - 1) / 2)
    width = maximum / DRAIN_POINTS
    return sum(
        width
        * step.seconds(
            sequences * (1 - (point + 0.5) / DRAIN_POINTS) ** spread, prompt + (point + 0.5) * width - 0.5
        )
        for point in range(DRAIN_POINTS)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModel:
    """One decode step of one replica, reduced to what does not change between steps."""

    pipeline: int
    weight_s: float
    """Reading one stage's weights."""
    flops_s: float
    """Computing one sequence's token in one stage's matrices."""
    context_s: float
    """Reading (or attending to) one cached token of one sequence in one stage."""
    token_bytes: int
    """Activations of one token, as reduced over the tensor group."""
    reductions: int
    """All-reduces of one stage."""
    on: Channel
    hop: Channel
    launch_s: float
    engine_s: float
    engine_sequence_s: float

    @classmethod
    def of(cls, setting: Setting, generate: GenerationStrategy) -> "StepModel":
        stage = _widest_stage(setting, generate)
        rates, model = setting.rates, setting.model
        on, hop = _channels(setting, generate)
        head = head_flops(model, setting.head, 1) if stage.has_head else 0.0
        matrices = stage.layers * 2 * model.layer_matrix_parameters + head
        attention = stage.layers * 4 * model.query_size / generate.tensor
        kv_bytes = kv_bytes_per_token(setting, generate)
        read = stage.shard(generate.tensor) * setting.element_bytes
        return cls(
            pipeline=generate.pipeline,
            weight_s=read / rates.memory_bytes_per_s,
            flops_s=matrices / generate.tensor / rates.prefill_flops_per_s,
            context_s=max(kv_bytes / rates.memory_bytes_per_s, attention / rates.prefill_flops_per_s),
            token_bytes=model.hidden * setting.element_bytes,
            reductions=2 * stage.layers,
            on=on,
            hop=hop,
            launch_s=stage.layers * rates.overheads.layer,
            engine_s=rates.overheads.decode_step,
            engine_sequence_s=rates.overheads.decode_sequence,
        )

    def seconds(self, batch: float, context: float) -> float:
        """One token for each of ``batch`` sequences whose mean context is ``context`` tokens.

        Matrices move their weights or compute, whichever is slower; attention reads each sequence's own cache
        (Yuan et al. 2402.16363, section 3). With p_g stages the batch runs as p_g parts, so that every stage
        reads its weights p_g times. Beside the device, the engine schedules, samples and detokenizes.
        """
        part = batch / self.pipeline
        message = part * self.token_bytes
        stage = (
            max(self.weight_s, part * self.flops_s)
            + part * context * self.context_s
            + self.reductions * all_reduce_seconds(self.on, message)
            + send_seconds(self.hop, message / self.on.size)
            + self.launch_s
        )
        return self.pipeline * stage + self.engine_s + batch * self.engine_sequence_s


def step_seconds(setting: Setting, generate: GenerationStrategy, *, batch: float, context: float) -> float:
    """Seconds of one decode step."""
    return StepModel.of(setting, generate).seconds(batch, context)


def kv_bytes_per_token(setting: Setting, generate: GenerationStrategy) -> int:
    """Keys and values of one token on one device; heads are copied when t_g exceeds their number."""
    model = setting.model
    layers = math.ceil(model.layers / generate.pipeline)
    heads = math.ceil(model.kv_heads / generate.tensor)
    return 2 * layers * heads * model.head_dim * setting.element_bytes


def _widest_stage(setting: Setting, generate: GenerationStrategy) -> Stage:
    """The stage with the most weights, which sets the pace."""
    return max(setting.end_stages(generate.pipeline), key=lambda stage: stage.layers * 2**40 + stage.split)


def _channels(setting: Setting, generate: GenerationStrategy) -> tuple[Channel, Channel]:
    """Links of the tensor group and between stages, the replica taken as neighbouring devices."""
    one = generate.pipeline * generate.tensor
    on = channel(setting.rates, size=generate.tensor, stride=1, devices=generate.devices)
    devices = generate.devices if one > setting.rates.devices_per_node else one
    hop = channel(setting.rates, size=generate.pipeline, stride=generate.tensor, devices=devices)
    return on, hop
