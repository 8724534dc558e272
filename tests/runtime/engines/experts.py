"""Megatron-Core's own models with latent attention and shared experts, which the engines do not run yet."""

from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.transformer import MLATransformerConfig, TransformerConfig, multi_latent_attention
from megatron.core.transformer.module import Float16Module
from torch.nn import functional

from planner.domain.model import ModelSpec
from planner.domain.parallelism import ParallelStrategy
from runtime.engines import optimizer as adam
from runtime.engines.optimizer import OptimizerSettings
from runtime.platform import megatron as platform
from runtime.platform.patches import apply_once

ORDER = "tp-cp-ep-dp-pp"
"""The one that Megatron asks for with experts and pipeline stages; stages outermost."""


class NotInstalled(torch.nn.Module):
    """Stands in for TransformerEngine's classes, which latent attention compares its own with."""


class NoAttention(torch.nn.Module):
    """Stands in for attention's core: it has no parameters, and no latent form without TransformerEngine."""

    def __init__(self, **_: Any) -> None:
        super().__init__()


def static_bytes(model: ModelSpec, strategy: ParallelStrategy) -> dict[str, int]:
    """Bytes on this rank of Megatron's model in bf16 with its distributed optimizer."""
    apply_once(platform.PATCHES)
    for name in ("TELinear", "TEColumnParallelLinear"):
        setattr(multi_latent_attention, name, NotInstalled)
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=strategy.tensor,
        pipeline_model_parallel_size=strategy.pipeline,
        expert_model_parallel_size=strategy.expert,
        order=ORDER,
        create_gloo_process_groups=False,
    )
    tensor_parallel.model_parallel_cuda_manual_seed(0)
    settings = OptimizerSettings(learning_rate=1e-3)
    wrapped = adam.wrap(_module(model, strategy), settings)
    buffers = wrapped.buffers + wrapped.expert_parallel_buffers
    return {
        "parameters": sum(buffer.param_data.nbytes for buffer in buffers),
        "gradients": sum(buffer.grad_data.nbytes for buffer in buffers),
        "optimizer": sum(
            {
                tensor.data_ptr(): tensor.nbytes
                for tensor in adam.state_tensors(adam.build([wrapped], settings))
            }.values()
        ),
    }


def _module(model: ModelSpec, strategy: ParallelStrategy) -> Float16Module:
    config = _config(model, strategy)
    rank = parallel_state.get_pipeline_model_parallel_rank()
    block = get_gpt_decoder_block_spec(config, use_transformer_engine=False, normalization="RMSNorm")
    for layer in block.layer_specs:
        layer.submodules.self_attention.submodules.core_attention = NoAttention
    module = GPTModel(
        config,
        block,
        vocab_size=model.vocab,
        max_sequence_length=model.max_positions,
        pre_process=rank == 0,
        post_process=rank == strategy.pipeline - 1,
        share_embeddings_and_output_weights=model.tied_embeddings,
        position_embedding_type="rope",
    )
    return Float16Module(config, module)


def _config(model: ModelSpec, strategy: ParallelStrategy) -> TransformerConfig:
    assert model.moe is not None, "a model with experts"
    assert model.mla is not None, "and with latent attention; the engines run those without"
    options = {
        "num_layers": model.layers,
        "hidden_size": model.hidden,
        "num_attention_heads": model.heads,
        "ffn_hidden_size": model.ffn,
        "normalization": "RMSNorm",
        "qk_layernorm": model.has_qk_norm or model.mla is not None,
        "gated_linear_unit": True,
        "activation_func": functional.silu,
        "add_bias_linear": False,
        "tensor_model_parallel_size": strategy.tensor,
        "pipeline_model_parallel_size": strategy.pipeline,
        "expert_model_parallel_size": strategy.expert,
        "expert_tensor_parallel_size": strategy.tensor,
        "num_moe_experts": model.moe.experts,
        "moe_router_topk": model.moe.experts_per_token,
        "moe_ffn_hidden_size": model.moe.expert_ffn,
        "moe_shared_expert_intermediate_size": model.moe.shared_ffn or None,
        "moe_layer_freq": [0] * model.dense_layers + [1] * model.expert_layers,
        "moe_token_dispatcher_type": "alltoall",
        "params_dtype": torch.bfloat16,
        "pipeline_dtype": torch.bfloat16,
        "bf16": True,
        "use_cpu_initialization": True,
        "calculate_per_token_loss": True,
        "gradient_accumulation_fusion": False,
        "masked_softmax_fusion": False,
        "bias_activation_fusion": False,
        "bias_dropout_fusion": False,
        "apply_rope_fusion": False,
        "persist_layer_norm": False,
    }
    latent = {
        "multi_latent_attention": True,
        "q_lora_rank": model.mla.query_rank,
        "kv_lora_rank": model.mla.kv_rank,
        "qk_head_dim": model.mla.nope_dim,
        "qk_pos_emb_head_dim": model.mla.rope_dim,
        "v_head_dim": model.mla.value_dim,
        "rope_type": "rope",
    }
    return MLATransformerConfig(**options, **latent)
