"""What the transformer's layers are made of: TransformerEngine's parts where installed, else torch's."""

from dataclasses import replace
from importlib.util import find_spec

from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec
from megatron.core.transformer import ModuleSpec, TransformerConfig
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules

from runtime.engines.attention import CausalAttention
from runtime.engines.norms import RootMeanSquareNorm
from runtime.platform import device_kind


def has_transformer_engine() -> bool:
    """Whether NVIDIA's kernels are at hand."""
    return device_kind() == "cuda" and find_spec("transformer_engine") is not None


def block_spec(config: TransformerConfig, chunk: int | None) -> TransformerBlockSubmodules:
    """The layers of this rank, or of one of its chunks in an interleaved pipeline."""
    fused = has_transformer_engine() and (config.bf16 or config.context_parallel_size == 1)
    block = get_gpt_decoder_block_spec(config, fused, normalization="RMSNorm", vp_stage=chunk)
    if fused:
        return block
    return replace(
        block,
        layer_specs=[_with_own_parts(layer) for layer in block.layer_specs],
        layer_norm=RootMeanSquareNorm,
    )


def _with_own_parts(layer: ModuleSpec) -> ModuleSpec:
    """A layer of Megatron's local spec with our norms and our core of attention."""
    parts = layer.submodules
    attention = parts.self_attention
    heads = attention.submodules
    core = replace(
        heads,
        core_attention=CausalAttention,
        q_layernorm=_norm(heads.q_layernorm),
        k_layernorm=_norm(heads.k_layernorm),
    )
    own = replace(
        parts,
        input_layernorm=_norm(parts.input_layernorm),
        pre_mlp_layernorm=_norm(parts.pre_mlp_layernorm),
        self_attention=replace(attention, submodules=core),
    )
    return replace(layer, submodules=own)


def _norm(part: type) -> type:
    return IdentityOp if part is IdentityOp else RootMeanSquareNorm
