"""A Megatron-Core transformer of the shape that a ModelSpec describes."""

from functools import partial
from typing import Any

import torch
from megatron.core.distributed import finalize_model_grads
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.tensor_parallel import gather_from_sequence_parallel_region
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.module import Float16Module, MegatronModule
from torch.nn import functional

from planner.domain.model import Head, ModelSpec, MoeSpec, Precision
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Recompute
from planner.domain.resharding import stage_layers
from runtime.engines.layout import Layout
from runtime.engines.limits import refuse, training_problems
from runtime.engines.specs import block_spec, uses_transformer_engine
from runtime.platform import current_device, device_kind

DTYPE = {"bf16": torch.bfloat16, "fp32": torch.float32}


class ValueHead(torch.nn.Linear):
    """One number per position, whole on every tensor-parallel rank; stands in for Megatron's output layer."""

    def __init__(self, hidden: int, *, sequence_parallel: bool, dtype: torch.dtype) -> None:
        super().__init__(hidden, 1, bias=False, dtype=dtype)
        self._is_cut = sequence_parallel
        self.weight.sequence_parallel = sequence_parallel  # type: ignore[attr-defined]

    def forward(self, hidden_sbh: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        """Values of shape (s, b, 1), and the bias that Megatron expects beside them."""
        values_sb1 = functional.linear(hidden_sbh.float(), self.weight.float())
        if self._is_cut:
            values_sb1 = gather_from_sequence_parallel_region(values_sb1, tensor_parallel_output_grad=False)
        return values_sb1, None


def build_chunks(
    model: ModelSpec,
    head: Head,
    *,
    layout: Layout,
    precision: Precision,
    recompute: Recompute = "none",
    sequence_parallel: bool = True,
) -> list[MegatronModule]:
    """This rank's parts of the model, their weights not yet set; call inside ``with layout``.

    More than one where the pipeline is interleaved. The other parameters are those of `MegatronEngine`.

    Raises
    ------
    PlanMismatchError
        If the layout does not divide the model.
    """
    strategy = layout.strategy
    refuse(training_problems(model, strategy))
    config = _config(model, strategy, precision, recompute, sequence_parallel)
    return [
        _build_chunk(model, head, config, layout=layout, chunk=chunk) for chunk in range(strategy.virtual)
    ]


def _build_chunk(
    model: ModelSpec, head: Head, config: TransformerConfig, *, layout: Layout, chunk: int
) -> MegatronModule:
    chunks = layout.strategy.virtual
    number = chunk if chunks > 1 else None
    has_head = layout.is_last_stage and chunk == chunks - 1
    module = GPTModel(
        config,
        block_spec(config, number, rope_theta=model.rope_theta),
        vocab_size=model.vocab,
        max_sequence_length=model.max_positions,
        pre_process=layout.is_first_stage and chunk == 0,
        post_process=has_head,
        share_embeddings_and_output_weights=model.tied_embeddings and head == "vocabulary",
        # our attention turns queries and keys itself
        position_embedding_type="rope" if uses_transformer_engine(config) else "none",
        rotary_base=model.rope_theta,
        vp_stage=number,
    )
    if head == "vocabulary" and has_head:
        module.output_layer.register_forward_hook(partial(_tempered, module))
    if head == "scalar" and has_head:
        module.output_layer = ValueHead(
            model.hidden, sequence_parallel=config.sequence_parallel, dtype=config.params_dtype
        )
    module.to(current_device())
    return Float16Module(config, module) if config.bf16 else module


def _tempered(module: GPTModel, _layer: Any, _inputs: Any, output: tuple[torch.Tensor, Any]) -> Any:
    """The output layer's logits over the module's ``temperature``, which each micro-batch sets."""
    logits, bias = output
    return output if module.temperature == 1 else (logits.float() / module.temperature, bias)


def _config(
    model: ModelSpec,
    strategy: ParallelStrategy,
    precision: Precision,
    recompute: Recompute,
    sequence_parallel: bool,
) -> TransformerConfig:
    dtype = DTYPE[precision]
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
        params_dtype=dtype,
        bf16=precision == "bf16",
        init_method=_leave,
        output_layer_init_method=_leave,
        use_cpu_initialization=device_kind() == "cpu",
        calculate_per_token_loss=True,  # gradients are summed: no division by micro-batches or replicas
        # fused kernels need Apex or TransformerEngine
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        apply_rope_fusion=False,
        persist_layer_norm=False,
        **_sizes(strategy, sequence_parallel or model.moe is not None),
        **_stages(model, strategy, dtype),
        **_experts(model, strategy),
        **_recomputed(recompute),
    )
    config.use_te_activation_func = not uses_transformer_engine(config)  # else the spec's, which is ours
    config.finalize_model_grads_func = _finalize_sums
    return config


def _sizes(strategy: ParallelStrategy, sequence_parallel: bool) -> dict[str, Any]:
    """Sizes of the groups, and whether norms and residuals are cut along the sequence."""
    return {
        "tensor_model_parallel_size": strategy.tensor,
        "sequence_parallel": sequence_parallel and strategy.tensor > 1,
        "context_parallel_size": strategy.context,
        "expert_model_parallel_size": strategy.expert,
        "expert_tensor_parallel_size": strategy.tensor,
    }


def _stages(model: ModelSpec, strategy: ParallelStrategy, dtype: torch.dtype) -> dict[str, Any]:
    """The pipeline, through which micro-batches of any shape go.

    Interleaved, both neighbours of a rank of two are the same one, and a batch of sends and receives would
    mix up what goes forward and what goes back; so each goes by itself.
    """
    interleaved = strategy.virtual > 1
    return {
        "pipeline_model_parallel_size": strategy.pipeline,
        "virtual_pipeline_model_parallel_size": strategy.virtual if interleaved else None,
        "pipeline_model_parallel_layout": _uneven_stages(model.layers, strategy),
        "pipeline_dtype": dtype,
        "variable_seq_lengths": strategy.pipeline > 1,
        "overlap_p2p_comm": interleaved,
        "batch_p2p_comm": not interleaved,
    }


def _experts(model: ModelSpec, strategy: ParallelStrategy) -> dict[str, Any]:
    """Experts, routed without a limit, an auxiliary loss or a balancing bias: as the loaded model does."""
    dispatcher = {"moe_token_dispatcher_type": "alltoall"}  # the default refuses variable lengths
    if model.moe is None:
        return dispatcher
    moe: MoeSpec = model.moe
    return dispatcher | {
        "num_moe_experts": moe.experts,
        "moe_layer_freq": [0] * moe.dense_layers + [1] * (model.layers - moe.dense_layers),
        "moe_ffn_hidden_size": moe.expert_ffn,
        "moe_router_topk": moe.experts_per_token,
        "moe_router_pre_softmax": not moe.normalized,
        "moe_router_dtype": "fp32",
        "moe_router_load_balancing_type": "none",
        "moe_aux_loss_coeff": 0.0,
    }


def _recomputed(recompute: Recompute) -> dict[str, Any]:
    match recompute:
        case "full":
            return {
                "recompute_granularity": "full",
                "recompute_method": "uniform",
                "recompute_num_layers": 1,
            }
        case "selective":
            return {"recompute_granularity": "selective", "recompute_modules": ["core_attn"]}
        case "none":
            return {}


def _leave(weight: torch.Tensor) -> None:
    """Initialise nothing: weights are loaded.

    Not ``perform_initialization=False``, which also skips marking weights as tensor-parallel, and unmarked
    ones are missing from the gradient norm.
    """


def _uneven_stages(layers: int, strategy: ParallelStrategy) -> list[list[str]] | None:
    """Megatron's layout of stages, chunk after chunk, where it is not the one that it takes by itself."""
    chunks = strategy.pipeline * strategy.virtual
    if layers % chunks == 0:
        return None
    rows = [["decoder"] * count for count in stage_layers(layers, chunks)]
    rows[0].insert(0, "embedding")
    rows[-1].append("loss")
    return rows


def _finalize_sums(
    model: list[MegatronModule], num_tokens: torch.Tensor | None = None, **options: Any
) -> None:
    """Reduce the gradients over the ranks, as Megatron does, without its division by the number of tokens."""
    finalize_model_grads(model, None, **options)
