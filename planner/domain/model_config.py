"""ModelSpecs of the fields of a Hugging Face ``config.json``, one reader per naming convention."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from planner.domain.mistakes import closest, describe_errors
from planner.domain.model import Family, ModelSpec
from planner.errors import SpecError

ARCHITECTURES: Mapping[str, Family] = {
    "LlamaForCausalLM": "llama",
    "LlamaForSequenceClassification": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen2ForSequenceClassification": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3ForSequenceClassification": "qwen3",
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "Qwen3MoeForSequenceClassification": "qwen3_moe",
    "MistralForCausalLM": "mistral",
    "MistralForSequenceClassification": "mistral",
    "MixtralForCausalLM": "mixtral",
    "MixtralForSequenceClassification": "mixtral",
    "DeepseekV3ForCausalLM": "deepseek_v3",
    "DeepseekV3ForSequenceClassification": "deepseek_v3",
    "GPT2LMHeadModel": "gpt",
    "GPT2ForSequenceClassification": "gpt",
    "OPTForCausalLM": "opt",
    "OPTForSequenceClassification": "opt",
}

_GATED: dict[str, object] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "partial_rotary_factor": 1,
}
_EXPECTED: Mapping[Family, Mapping[str, object]] = {
    "qwen3_moe": _GATED | {"decoder_sparse_step": 1},
    "deepseek_v3": _GATED | {"moe_layer_freq": 1},
    "gpt": {"activation_function": "gelu_new", "tie_word_embeddings": True},
    "opt": {"activation_function": "relu", "do_layer_norm_before": True, "enable_bias": True},
}
"""What a family's optional fields must say, where they say something."""

_OPT_POSITION_OFFSET = 2
"""OPT's first position has index 2, so its table has two rows more than positions."""

_QWEN3_HEAD_DIM = 128
"""What transformers takes for a Qwen3 whose file does not say it; for other families, hidden / heads."""

_T = TypeVar("_T")


def model_from_config(config: Any, *, name: str, where: str, folder: str | None = None) -> ModelSpec:
    """A ModelSpec of the fields of a Hugging Face ``config.json``.

    Raises
    ------
    SpecError
        A field is missing, of the wrong type, or says something that these architectures don't have.
    """
    if not isinstance(config, dict):
        raise SpecError(f"{where}: expected an object with the fields of a config.json")
    fields = _Fields(config, where)
    architecture = fields.required("architectures", list)[0]
    if architecture not in ARCHITECTURES:
        raise SpecError(
            f"{where}: architectures: {architecture!r} is not one of "
            f"{', '.join(ARCHITECTURES)}{closest(architecture, ARCHITECTURES)}"
        )
    family = ARCHITECTURES[architecture]
    _refuse_unsupported(config, family, where)
    if folder is not None and config.get("quantization_config"):
        raise SpecError(
            f"{where}: quantization_config: quantized weights are not supported; give a folder of the "
            "model's bf16 or fp32 weights, or to plan only, a copy of this file alone"
        )
    shape = {"gpt": _gpt_shape, "opt": _opt_shape}.get(family, _rotary_shape)(fields)
    if family in ("qwen3_moe", "mixtral", "deepseek_v3"):
        shape["moe"] = {"qwen3_moe": _qwen_moe, "mixtral": _mixtral_moe, "deepseek_v3": _deepseek_moe}[
            family
        ](fields)
    if family == "qwen3":
        shape["head_dim"] = fields.optional("head_dim", _QWEN3_HEAD_DIM)
    if family == "deepseek_v3":
        shape |= _latent_attention(fields)
    try:
        return ModelSpec.model_validate({"name": name, "family": family, "folder": folder, **shape})
    except ValidationError as error:
        raise SpecError("\n".join(describe_errors(error, where=where, root=ModelSpec))) from None


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of one config file, checked as they are read."""

    config: Mapping[str, Any]
    where: str

    def required(self, key: str, kind: type[_T]) -> _T:
        value = self.config.get(key)
        if not isinstance(value, kind) or value == []:
            raise SpecError(f"{self.where}: {key}: expected {kind.__name__}, found {json.dumps(value)}")
        return value

    def optional(self, key: str, default: Any) -> Any:
        """The field, the default where it is missing or null."""
        value = self.config.get(key)
        return default if value is None else value


def _refuse_unsupported(config: Mapping[str, Any], family: Family, where: str) -> None:
    for key, expected in _EXPECTED.get(family, _GATED).items():
        if config.get(key, expected) not in (expected, None):
            raise SpecError(f"{where}: {key}: {config[key]!r} is not supported, only {expected!r}")
    kinds = config.get("layer_types") or []
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind != "full_attention":
            raise SpecError(f"{where}: layer_types: {kind!r} is not supported, only 'full_attention'")
    if len(config.get("id2label") or ()) > 1 and "SequenceClassification" in str(config["architectures"]):
        raise SpecError(f"{where}: a reward model has one label, not {len(config['id2label'])}")


def _rotary_shape(fields: _Fields) -> dict[str, Any]:
    """Llama's names, which most families share."""
    heads, hidden = fields.required("num_attention_heads", int), fields.required("hidden_size", int)
    rope = _rope(fields)
    return {
        "layers": fields.required("num_hidden_layers", int),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": fields.optional("num_key_value_heads", heads),
        "head_dim": fields.optional("head_dim", hidden // max(heads, 1)),
        "ffn": fields.required("intermediate_size", int),
        "vocab": fields.required("vocab_size", int),
        "tied_embeddings": bool(fields.optional("tie_word_embeddings", False)),
        "max_positions": fields.optional("max_position_embeddings", 2048),
        "rope_theta": rope.get("rope_theta") or fields.optional("rope_theta", 10000.0),
        "rope_type": rope.get("rope_type") or rope.get("type") or "default",
        "norm_epsilon": fields.optional("rms_norm_eps", 1e-5),
    }


def _rope(fields: _Fields) -> Mapping[str, Any]:
    """Parameters of the rotary embedding, which turns whole heads by one position."""
    key = "rope_parameters" if fields.config.get("rope_parameters") else "rope_scaling"
    rope = fields.optional(key, None)
    if not isinstance(rope, dict):
        return {}
    if rope.get("partial_rotary_factor") not in (1, None):
        factor = rope["partial_rotary_factor"]
        raise SpecError(f"{fields.where}: {key}.partial_rotary_factor: {factor!r} is not supported, only 1")
    if rope.get("mrope_section"):
        raise SpecError(f"{fields.where}: {key}.mrope_section: positions of several parts are not supported")
    return rope


def _gpt_shape(fields: _Fields) -> dict[str, Any]:
    """GPT-2's names, in which GPT-3's shape is written as well."""
    heads, hidden = fields.required("n_head", int), fields.required("n_embd", int)
    positions = fields.required("n_positions", int)
    return _learned_position_shape(hidden, heads) | {
        "layers": fields.required("n_layer", int),
        "ffn": fields.optional("n_inner", 4 * hidden),
        "vocab": fields.required("vocab_size", int),
        "max_positions": positions,
        "learned_positions": positions,
        "norm_epsilon": fields.optional("layer_norm_epsilon", 1e-5),
    }


def _opt_shape(fields: _Fields) -> dict[str, Any]:
    heads, hidden = fields.required("num_attention_heads", int), fields.required("hidden_size", int)
    if fields.optional("word_embed_proj_dim", hidden) != hidden:
        raise SpecError(f"{fields.where}: word_embed_proj_dim: only {hidden}, the hidden_size, is supported")
    positions = fields.required("max_position_embeddings", int)
    return _learned_position_shape(hidden, heads) | {
        "layers": fields.required("num_hidden_layers", int),
        "ffn": fields.required("ffn_dim", int),
        "vocab": fields.required("vocab_size", int),
        "tied_embeddings": bool(fields.optional("tie_word_embeddings", True)),
        "max_positions": positions,
        "learned_positions": positions + _OPT_POSITION_OFFSET,
    }


def _learned_position_shape(hidden: int, heads: int) -> dict[str, Any]:
    """What GPT and OPT have in common: biases everywhere, two matrices in the MLP, a tied head."""
    return {
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": hidden // max(heads, 1),
        "tied_embeddings": True,
        "gated": False,
        "has_linear_bias": True,
    }


def _qwen_moe(fields: _Fields) -> dict[str, Any]:
    dense = fields.optional("mlp_only_layers", [])
    if dense != list(range(len(dense))):
        raise SpecError(
            f"{fields.where}: mlp_only_layers: only the first layers can be dense, found {json.dumps(dense)}"
        )
    renamed = "num_local_experts" in fields.config  # as transformers 5 writes it
    return {
        "experts": fields.required("num_local_experts" if renamed else "num_experts", int),
        "experts_per_token": fields.required("num_experts_per_tok", int),
        "expert_ffn": fields.required("moe_intermediate_size", int),
        "dense_layers": len(dense),
        "normalized": bool(fields.optional("norm_topk_prob", False)),
    }


def _mixtral_moe(fields: _Fields) -> dict[str, Any]:
    return {
        "experts": fields.required("num_local_experts", int),
        "experts_per_token": fields.required("num_experts_per_tok", int),
        "expert_ffn": fields.required("intermediate_size", int),
    }


def _deepseek_moe(fields: _Fields) -> dict[str, Any]:
    width = fields.required("moe_intermediate_size", int)
    return {
        "experts": fields.required("n_routed_experts", int),
        "experts_per_token": fields.required("num_experts_per_tok", int),
        "expert_ffn": width,
        "shared_ffn": width * fields.optional("n_shared_experts", 0),
        "dense_layers": fields.optional("first_k_dense_replace", 0),
    }


def _latent_attention(fields: _Fields) -> dict[str, Any]:
    """DeepSeek's attention; a head's query and key are as wide as their two parts together."""
    nope, rope = fields.required("qk_nope_head_dim", int), fields.required("qk_rope_head_dim", int)
    return {
        "head_dim": nope + rope,
        "mla": {
            "query_rank": fields.optional("q_lora_rank", None),
            "kv_rank": fields.required("kv_lora_rank", int),
            "nope_dim": nope,
            "rope_dim": rope,
            "value_dim": fields.required("v_head_dim", int),
        },
    }
