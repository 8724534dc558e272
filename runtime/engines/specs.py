"""What the transformer's layers are made of: TransformerEngine's parts where installed, else torch's."""

from dataclasses import replace
from importlib.util import find_spec

from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec
from megatron.core.transformer import ModuleSpec, TransformerConfig
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.moe.moe_layer import MoESubmodules
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules

from runtime.engines.attention import CausalAttention
from runtime.engines.elementwise import gated
from runtime.engines.norms import RootMeanSquareNorm
from runtime.platform import device_kind


def has_transformer_engine() -> bool:
    """Whether NVIDIA's kernels are at hand."""
    return device_kind() == "cuda" and find_spec("transformer_engine") is not None


def uses_transformer_engine(config: TransformerConfig) -> bool:
    """Whether the layers are NVIDIA's; their attention over cut sequences knows no fp32."""
    return has_transformer_engine() and (config.bf16 or config.context_parallel_size == 1)


def block_spec(
    config: TransformerConfig, chunk: int | None, *, rope_theta: float
) -> TransformerBlockSubmodules:
    """The layers of this rank, or of one of its chunks in an interleaved pipeline.

    Where they are not TransformerEngine's, attention applies the rotary embeddings and the MLP takes our
    activation, for which the config asks with ``use_te_activation_func``.
    """
    fused = uses_transformer_engine(config)
    block = get_gpt_decoder_block_spec(config, fused, normalization="RMSNorm", vp_stage=chunk)
    if fused:
        return block
    return replace(
        block,
        layer_specs=[_with_own_parts(layer, rope_theta) for layer in block.layer_specs],
        layer_norm=RootMeanSquareNorm,
    )


def _with_own_parts(layer: ModuleSpec, rope_theta: float) -> ModuleSpec:
    """A layer of Megatron's local spec with our norms, our activation and our core of attention."""
    parts = layer.submodules
    attention = parts.self_attention
    heads = attention.submodules
    core = replace(
        heads,
        core_attention=ModuleSpec(CausalAttention, params={"rope_theta": rope_theta}),
        q_layernorm=_norm(heads.q_layernorm),
        k_layernorm=_norm(heads.k_layernorm),
    )
    own = replace(
        parts,
        input_layernorm=_norm(parts.input_layernorm),
        pre_mlp_layernorm=_norm(parts.pre_mlp_layernorm),
        self_attention=replace(attention, submodules=core),
        mlp=_with_own_activation(parts.mlp),
    )
    return replace(layer, submodules=own)


def _with_own_activation(mlp: ModuleSpec) -> ModuleSpec:
    """A gated MLP, or a layer of experts that are such."""
    parts = mlp.submodules
    if isinstance(parts, MoESubmodules):
        return replace(mlp, submodules=replace(parts, experts=_with_own_activation(parts.experts)))
    return replace(mlp, submodules=replace(parts, activation_func=gated))


def _norm(part: type) -> type:
    return IdentityOp if part is IdentityOp else RootMeanSquareNorm
