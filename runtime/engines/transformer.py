"""A Megatron-Core transformer of the shape that a ModelSpec describes."""

from typing import Any

import torch
from megatron.core.distributed import finalize_model_grads
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.module import Float16Module, MegatronModule
from torch.nn import functional

from planner.domain.model import Head, ModelSpec, Precision
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Recompute
from planner.domain.resharding import stage_layers
from runtime.engines.layout import Layout
from runtime.engines.limits import refuse, training_problems
from runtime.platform import current_device, device_kind

DTYPE = {"bf16": torch.bfloat16, "fp32": torch.float32}


class ValueHead(torch.nn.Linear):
    """One number per position, whole on every tensor-parallel rank; stands in for Megatron's output layer."""

    def forward(self, hidden_sbh: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        """Values of shape (s, b, 1), and the bias that Megatron expects beside them."""
        return functional.linear(hidden_sbh.float(), self.weight.float()), None


def build_module(
    model: ModelSpec, head: Head, *, layout: Layout, precision: Precision, recompute: Recompute = "none"
) -> MegatronModule:
    """This rank's part of the model, its weights not yet set; call inside ``with layout``.

    Raises
    ------
    PlanMismatchError
        If the layout does not divide the model.
    """
    refuse(training_problems(model, layout.strategy))
    config = _config(model, layout.strategy, precision, recompute)
    module = GPTModel(
        config,
        get_gpt_layer_local_spec(normalization="RMSNorm", qk_layernorm=model.has_qk_norm),
        vocab_size=model.vocab,
        max_sequence_length=model.max_positions,
        pre_process=layout.is_first_stage,
        post_process=layout.is_last_stage,
        share_embeddings_and_output_weights=model.tied_embeddings and head == "vocabulary",
        position_embedding_type="rope",
        rotary_base=model.rope_theta,
    )
    if head == "scalar" and layout.is_last_stage:
        module.output_layer = ValueHead(model.hidden, 1, bias=False, dtype=DTYPE[precision])
    module.to(current_device())
    return Float16Module(config, module) if precision == "bf16" else module


def _config(
    model: ModelSpec, strategy: ParallelStrategy, precision: Precision, recompute: Recompute
) -> TransformerConfig:
    dtype = DTYPE[precision]
    full = recompute == "full"
    config = TransformerConfig(
        num_layers=model.layers,
        hidden_size=model.hidden,
        num_attention_heads=model.heads,
        num_query_groups=model.kv_heads,
        kv_channels=model.head_dim,
        ffn_hidden_size=model.ffn,
        normalization="RMSNorm",
        layernorm_epsilon=model.norm_epsilon,
        gated_linear_unit=True,
        activation_func=functional.silu,
        add_bias_linear=False,
        add_qkv_bias=model.has_qkv_bias,
        qk_layernorm=model.has_qk_norm,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        tensor_model_parallel_size=strategy.tensor,
        pipeline_model_parallel_size=strategy.pipeline,
        pipeline_model_parallel_layout=_uneven_stages(model.layers, strategy.pipeline),
        variable_seq_lengths=strategy.pipeline > 1,
        moe_token_dispatcher_type="alltoall",  # the default refuses variable lengths, also without experts
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=precision == "bf16",
        init_method=_leave,
        output_layer_init_method=_leave,
        use_cpu_initialization=device_kind() == "cpu",
        calculate_per_token_loss=True,  # gradients are summed: no division by micro-batches or replicas
        recompute_granularity="full" if full else None,
        recompute_method="uniform" if full else None,
        recompute_num_layers=1 if full else None,
        # fused kernels need Apex or TransformerEngine
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        apply_rope_fusion=False,
        persist_layer_norm=False,
    )
    config.finalize_model_grads_func = _finalize_sums
    return config


def _leave(weight: torch.Tensor) -> None:
    """Initialise nothing: weights are loaded.

    Not ``perform_initialization=False``, which also skips marking weights as tensor-parallel, and unmarked
    ones are missing from the gradient norm.
    """


def _uneven_stages(layers: int, stages: int) -> list[list[str]] | None:
    """Megatron's layout of stages where it is not the one that it takes by itself."""
    if layers % stages == 0:
        return None
    rows = [["decoder"] * count for count in stage_layers(layers, stages)]
    rows[0].insert(0, "embedding")
    rows[-1].append("loss")
    return rows


def _finalize_sums(
    model: list[MegatronModule], num_tokens: torch.Tensor | None = None, **options: Any
) -> None:
    """Reduce the gradients over the ranks, as Megatron does, without its division by the number of tokens."""
    finalize_model_grads(model, None, **options)
