import json
from pathlib import Path
from typing import Any

import pytest

from planner.domain.model_config import model_from_config
from planner.errors import SpecError

SHIPPED = Path(__file__).parents[3] / "profiles/models"


def config(name: str, **changes: Any) -> dict[str, Any]:
    return json.loads((SHIPPED / f"{name}.json").read_text()) | changes


def read(name: str, **changes: Any) -> Any:
    return model_from_config(config(name, **changes), name=name, where="config.json")


def test_latent_attention_is_read_with_its_two_parts() -> None:
    model = read("deepseek-v3")
    assert model.mla.model_dump() == {
        "query_rank": 1536,
        "kv_rank": 512,
        "nope_dim": 128,
        "rope_dim": 64,
        "value_dim": 128,
    }
    assert (model.head_dim, model.query_size, model.value_size) == (192, 128 * 192, 128 * 128)
    assert read("moonlight-16b-a3b").mla.query_rank is None


def test_shared_experts_count_together() -> None:
    assert read("moonlight-16b-a3b").moe.shared_ffn == 2 * 1408


def test_gpt_writes_its_shape_under_names_of_its_own() -> None:
    model = read("gpt-3-175b")
    assert (model.ffn, model.learned_positions, model.has_linear_bias, model.gated) == (
        49152,
        2048,
        True,
        False,
    )
    assert read("gpt-3-175b", n_inner=1024).ffn == 1024


def test_a_config_says_whether_the_weights_of_a_tokens_experts_add_up_to_one() -> None:
    moe = read("qwen3-30b-a3b").moe
    plain = read("qwen3-30b-a3b", norm_topk_prob=None).moe  # what transformers takes then
    assert moe is not None
    assert plain is not None
    assert (moe.normalized, plain.normalized) == (True, False)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("llama-3.1-8b", {"hidden_act": "gelu"}, "hidden_act: 'gelu' is not supported, only 'silu'"),
        ("llama-3.1-8b", {"architectures": ["Llama4ForCausalLM"]}, "'Llama4ForCausalLM' is not one of"),
        ("llama-3.1-8b", {"num_hidden_layers": "32"}, 'num_hidden_layers: expected int, found "32"'),
        ("llama-3.1-8b", {"num_key_value_heads": 5}, "must be a multiple of kv_heads"),
        ("qwen3-30b-a3b", {"decoder_sparse_step": 2}, "decoder_sparse_step: 2 is not supported"),
        ("qwen3-30b-a3b", {"mlp_only_layers": [3]}, "mlp_only_layers: only the first layers can be dense"),
        ("qwen3-30b-a3b", {"num_experts_per_tok": 200}, "must not exceed experts"),
        ("deepseek-v3", {"kv_lora_rank": None}, "kv_lora_rank: expected int, found null"),
        ("deepseek-v3", {"first_k_dense_replace": 62}, "moe.dense_layers .62. exceeds layers"),
        ("opt-13b", {"word_embed_proj_dim": 512}, "word_embed_proj_dim: only 5120"),
        ("opt-13b", {"do_layer_norm_before": False}, "do_layer_norm_before: False is not supported"),
        ("qwen2.5-7b", {"use_sliding_window": True}, "use_sliding_window: True is not supported, only False"),
        (
            "llama-3.1-8b",
            {"layer_types": ["full_attention", "sliding_attention"]},
            "layer_types: 'sliding_attention' is not supported, only 'full_attention'",
        ),
        (
            "llama-3.1-8b",
            {"partial_rotary_factor": 0.5},
            "partial_rotary_factor: 0.5 is not supported, only 1",
        ),
        (
            "qwen3-8b",
            {"rope_parameters": {"rope_theta": 1e6, "partial_rotary_factor": 0.25}},
            "rope_parameters.partial_rotary_factor: 0.25 is not supported, only 1",
        ),
        (
            "qwen2.5-7b",
            {"rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}},
            "rope_scaling.mrope_section: positions of several parts",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_field(name: str, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected) as caught:
        read(name, **change)
    assert str(caught.value).startswith("config.json: ")


def test_fields_that_change_nothing_are_accepted() -> None:
    """As the published Qwen2.5 and what transformers 5 saves say them."""
    said = {
        "use_sliding_window": False,
        "sliding_window": 131072,
        "max_window_layers": 28,
        "layer_types": ["full_attention"] * 28,
        "partial_rotary_factor": 1.0,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default", "partial_rotary_factor": 1.0},
        "quantization_config": None,
    }
    assert read("qwen2.5-7b", **said) == read("qwen2.5-7b")


def test_quantized_weights_are_refused_but_their_shape_is_planned() -> None:
    quantized = config("deepseek-v3", quantization_config={"quant_method": "fp8"})
    assert model_from_config(quantized, name="deepseek-v3", where="config.json") == read("deepseek-v3")
    with pytest.raises(SpecError, match=r"config\.json: quantization_config: quantized weights are not"):
        model_from_config(quantized, name="deepseek-v3", where="config.json", folder="/models/deepseek-v3")


def test_heads_of_an_unsaid_size_are_as_transformers_takes_them() -> None:
    assert read("qwen3-0.6b", head_dim=None).head_dim == 128
    assert read("qwen3-30b-a3b", head_dim=None).head_dim == 2048 // 32
    assert read("llama-3.2-3b", head_dim=None).head_dim == 3072 // 24
