"""Bytes of a serving engine on its fullest device, by kind."""

import math
from functools import lru_cache

from planner.costs.memory.parameters import layer_tensors
from planner.costs.memory.rounding import Numbers, choose, greater, lesser
from planner.costs.setting import Setting
from planner.domain.model import ModelSpec
from planner.domain.parallelism import VOCABULARY_MULTIPLE, GenerationStrategy
from planner.domain.resharding import stage_layers

BLOCK_TOKENS = 16
"""Of one block of the paged cache (vLLM's ``block_size``; Kwon et al. 2309.06180, section 4.1)."""


def generation_bytes(setting: Setting, generate: GenerationStrategy) -> dict[str, int]:
    """Generation weights, cache and working set on the fullest device.

    The weights M / (t_g p_g) lie in a buffer of their own beside the training weights (HybridFlow, section 7
    and table 2).
    """
    beside = bytes_beside_weights(
        setting,
        generate,
        replicas=generate.replicas,
        max_sequences=generate.max_sequences,
        cache_tokens=generate.cache_tokens or 0,
    )
    return {"generation_weights": weight_bytes(setting, generate), **beside}


def weight_bytes(setting: Setting, generate: GenerationStrategy) -> int:
    """Of the fullest stage's weights."""
    return _weight_bytes(setting, generate.pipeline, generate.tensor)


@lru_cache(maxsize=65536)
def _weight_bytes(setting: Setting, pipeline: int, tensor: int) -> int:
    dense, sparse = _layer_sizes(setting, tensor)
    stages = enumerate(_kinds_of_layers(setting.model, pipeline))
    return setting.element_bytes * max(
        counts[0] * dense + counts[1] * sparse + _end_elements(setting.model, tensor, pipeline, stage)
        for stage, counts in stages
    )


@lru_cache(maxsize=4096)
def _layer_sizes(setting: Setting, tensor: int) -> tuple[int, int]:
    """Parameters on one rank of a layer without experts, and of one with.

    Key heads are repeated where ranks outnumber them.
    """
    model = setting.model
    sparse = _layer_elements(model, tensor, is_sparse=True) if model.moe else 0
    return _layer_elements(model, tensor, is_sparse=False), sparse


def bytes_beside_weights(
    setting: Setting,
    generate: GenerationStrategy,
    *,
    replicas: Numbers,
    max_sequences: Numbers,
    cache_tokens: Numbers,
) -> dict[str, Numbers]:
    """Cache and working set of replicas of one p_g and t_g, by kind.

    The cache holds ``cache_tokens``, or where they are 0 ``max_sequences`` sequences of the greatest length.
    Without a cache whole sequences are worked on. Captured graphs share one pool, as large as the largest
    batch's working set. Counts are numbers, or arrays of one length.
    """
    model, workload, stack = setting.model, setting.workload, setting.stack.generation
    replica = -(-workload.samples // replicas)
    sequences, longest = lesser(max_sequences, replica), workload.prompt_tokens.maximum
    prefill = lesser(replica * longest, stack.prefill_tokens)
    tokens = greater(greater(prefill, 0 if stack.chunked else longest), sequences)
    if not stack.keeps_cache:
        tokens = sequences * workload.maximum_tokens
    captured = lesser(stack.graph_sequences, sequences) if setting.device.kind == "cuda" else 0
    block, working = cache_bytes(setting, generate, 1), working_bytes_per_token(setting, generate)
    whole = sequences * -(-workload.maximum_tokens // BLOCK_TOKENS)
    blocks = choose(cache_tokens > 0, -(-cache_tokens // BLOCK_TOKENS), whole)
    return {
        "kv_cache": blocks * block * stack.keeps_cache,
        "activations": tokens * working,
        "logits": sequences * model.vocab * (setting.element_bytes + 4),
        "graphs": captured * working,
    }


def cache_bytes(setting: Setting, generate: GenerationStrategy, tokens: int) -> int:
    """Of so many tokens of one sequence on the fullest device, in whole blocks.

    Each rank keeps at least one key head; a latent is whole on all of them.
    """
    model = setting.model
    heads = -(-model.kv_heads // generate.tensor)
    width = model.cached_size if model.mla else 2 * heads * model.head_dim
    layers = -(-model.layers // generate.pipeline)
    blocks = -(-tokens // BLOCK_TOKENS)
    return blocks * BLOCK_TOKENS * layers * width * setting.element_bytes


def working_bytes_per_token(setting: Setting, generate: GenerationStrategy) -> int:
    """A layer's largest working set: the residual, a norm's output, and attention's or the MLP's tensors."""
    model = setting.model
    attention = model.query_size + 2 * model.kv_size + model.value_size
    width = (3 if model.gated else 2) * model.ffn
    if model.moe:
        used = model.moe.experts_per_token * model.moe.expert_ffn + model.moe.shared_ffn
        width = max(width, (3 if model.gated else 2) * used + model.moe.experts_per_token * model.hidden)
    return (2 * model.hidden + -(-max(attention, width) // generate.tensor)) * setting.element_bytes


def _kinds_of_layers(model: ModelSpec, pipeline: int) -> list[tuple[int, int]]:
    """(Layers without experts, with experts) of each stage; the former come first."""
    counts, begin, dense = [], 0, model.dense_layers
    for layers in stage_layers(model.layers, pipeline):
        own = min(max(dense - begin, 0), layers)
        counts.append((own, layers - own))
        begin += layers
    return counts


def _end_elements(model: ModelSpec, tensor: int, pipeline: int, stage: int) -> int:
    """Embedding, last norm and head of a stage."""
    count, is_last = 0, stage == pipeline - 1
    rows = math.ceil(model.vocab / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
    table = math.ceil(rows / tensor) * model.hidden
    if stage == 0:
        count += table + model.position_parameters
    if is_last:
        count += model.norm_size
        count += 0 if model.tied_embeddings and pipeline == 1 else table
    return count


def _layer_elements(model: ModelSpec, tensor: int, *, is_sparse: bool) -> int:
    layer = layer_tensors(model, is_sparse=is_sparse)
    count: int = layer.shared.elements(tensor) + layer.experts * layer.expert.elements(tensor)
    if model.mla:
        return count
    heads = -(-model.kv_heads // tensor)
    repeated = 2 * (heads * model.head_dim - model.kv_size / tensor) * model.hidden
    return count + math.ceil(repeated)
