"""Bytes on the fullest device of a role, by kind."""

import math

from planner.costs.generation import PREFILL_TOKENS, kv_bytes_per_token
from planner.costs.setting import Setting
from planner.costs.training import GRADIENT_BYTES, OPTIMIZER_BYTES
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy


def persistent_bytes(setting: Setting, layout: ParallelStrategy, *, is_trained: bool) -> dict[str, int]:
    """What lives on the fullest device during the whole iteration.

    A trained role keeps parameters, fp32 gradients and optimizer states; the optimizer's are cut over d
    (ZeRO stage 1, 1910.02054): under bf16 2 + 4 + 12 / d bytes per parameter, under fp32 4 + 4 + 8 / d. Other
    roles keep parameters only (HybridFlow, section 8.1).
    """
    shard = max(stage.trained_shard(layout.tensor) for stage in setting.end_stages(layout.pipeline))
    parameters = {"parameters": shard * setting.element_bytes}
    if not is_trained:
        return parameters
    optimizer = math.ceil(shard / layout.data) * OPTIMIZER_BYTES[setting.precision]
    return parameters | {"gradients": shard * GRADIENT_BYTES, "optimizer": optimizer}


def training_bytes(setting: Setting, strategy: RoleStrategy) -> dict[str, int]:
    """Activations and logits on the fuller of the first and the last stage.

    1F1B keeps min(p, m) micro-batches on the first stage and one on the last, which also computes the
    logits (Narayanan et al. 2104.04473, section 2.2.1).
    """
    layout = strategy.layout
    stages = setting.end_stages(layout.pipeline)
    sequences = math.ceil(setting.mini_batch / layout.data)
    micro_batch = min(strategy.micro_batch, sequences)
    in_flight = min(layout.pipeline * micro_batch, sequences)
    first = {"activations": _kept_bytes(setting, strategy, stages[0].layers, kept=in_flight)}
    last = {
        "activations": _kept_bytes(setting, strategy, stages[-1].layers, kept=micro_batch),
        "logits": logits_bytes(setting, layout.tensor, micro_batch, backward=True),
    }
    if layout.pipeline == 1:
        return last
    return max(first, last, key=lambda kinds: sum(kinds.values()))


def _kept_bytes(setting: Setting, strategy: RoleStrategy, layers: int, *, kept: int) -> int:
    """Activations of ``kept`` sequences over a stage's layers; under recomputation the layers' inputs.

    While a layer recomputes, its own activations of one micro-batch are there as well.
    """
    tokens = setting.workload.maximum_tokens
    layer = layer_activation_bytes(setting, strategy.layout.tensor)
    if strategy.recompute == "none":
        return kept * tokens * layers * layer
    inputs = setting.model.hidden * setting.element_bytes
    return kept * tokens * layers * inputs + min(kept, strategy.micro_batch) * tokens * layer


def layer_activation_bytes(setting: Setting, tensor: int) -> int:
    """Bytes per token that one layer keeps for its backward pass.

    Korthikanti et al. 2205.05198, equation 2, for a gated MLP without dropout and with flash attention (no
    s^2 term): whole on each rank are the inputs of both norms and of both blocks, 4 h; cut over the tensor
    group are query, attention output, key, value, gate, up and their product, 2 q + 2 kv + 3 f.
    """
    model = setting.model
    whole = 4 * model.hidden
    split = 2 * model.query_size + 2 * model.kv_size + 3 * model.ffn
    return (whole + math.ceil(split / tensor)) * setting.element_bytes


def logits_bytes(setting: Setting, tensor: int, sequences: int, *, backward: bool) -> int:
    """The last layer's output on one rank, cut over the vocabulary (Megatron-LM, 1909.08053, section 3).

    Per entry the logits in the model's precision, an fp32 copy for the log-softmax, and in training its
    fp32 gradient. A scalar head's output does not count.
    """
    if setting.head == "scalar":
        return 0
    entries = sequences * setting.workload.maximum_tokens * math.ceil(setting.model.vocab / tensor)
    return entries * (setting.element_bytes + (8 if backward else 4))


def inference_bytes(setting: Setting, strategy: RoleStrategy) -> dict[str, int]:
    """One layer's working set and the logits of one micro-batch; nothing is kept for a backward pass."""
    layout = strategy.layout
    sequences = min(strategy.micro_batch, math.ceil(setting.workload.samples / layout.data))
    tokens = sequences * setting.workload.maximum_tokens
    return {
        "activations": tokens * layer_activation_bytes(setting, layout.tensor),
        "logits": logits_bytes(setting, layout.tensor, sequences, backward=False),
    }


def generation_bytes(setting: Setting, generate: GenerationStrategy) -> dict[str, int]:
    """Generation weights, cache and working set on the fullest device.

    The weights M / (t_g p_g) lie in a buffer of their own beside the training weights (HybridFlow, section 7
    and table 2); the cache holds ``max_sequences`` sequences of the greatest length.
    """
    replica = math.ceil(setting.workload.samples / generate.replicas)
    sequences = min(generate.max_sequences, replica)
    shard = max(stage.shard(generate.tensor) for stage in setting.end_stages(generate.pipeline))
    context = setting.workload.maximum_tokens
    prefill = min(replica * setting.workload.prompt_tokens.maximum, PREFILL_TOKENS)
    tokens = max(prefill, setting.workload.prompt_tokens.maximum, sequences)
    return {
        "generation_weights": shard * setting.element_bytes,
        "kv_cache": sequences * context * kv_bytes_per_token(setting, generate),
        "activations": tokens * layer_activation_bytes(setting, generate.tensor),
        "logits": sequences * setting.model.vocab * (setting.element_bytes + 4),
    }
