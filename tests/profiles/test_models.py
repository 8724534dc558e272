"""The model catalog, against what the models' cards and papers state."""

import pytest

from planner.domain.catalog import model_names, read_model

BILLIONS = {
    "llama-2-7b": 6.74,
    "llama-2-13b": 13.02,
    "llama-2-70b": 68.98,
    "codellama-34b": 33.74,
    "llama-3.1-8b": 8.03,
    "llama-3.1-70b": 70.55,
    "llama-3.1-405b": 405.85,
    "llama-3.2-1b": 1.24,
    "llama-3.2-3b": 3.21,
    "qwen2.5-0.5b": 0.49,
    "qwen2.5-1.5b": 1.54,
    "qwen2.5-3b": 3.09,
    "qwen2.5-7b": 7.62,
    "qwen2.5-14b": 14.77,
    "qwen2.5-32b": 32.76,
    "qwen2.5-72b": 72.71,
    "qwen3-0.6b": 0.60,
    "qwen3-1.7b": 1.72,
    "qwen3-4b": 4.02,
    "qwen3-8b": 8.19,
    "qwen3-14b": 14.77,
    "qwen3-32b": 32.76,
    "qwen3-30b-a3b": 30.53,
    "qwen3-235b-a22b": 235.09,
    "mistral-7b": 7.24,
    "mixtral-8x7b": 46.70,
    "deepseek-v3": 671.03,
    "moonlight-16b-a3b": 15.96,
    "gpt-3-175b": 174.60,
    "opt-13b": 12.85,
    "opt-66b": 65.72,
}
"""Parameters of the published weights, the multi-token prediction module of DeepSeek-V3 left out."""

ACTIVE_BILLIONS = {
    "mixtral-8x7b": 12.9,
    "qwen3-30b-a3b": 3.35,
    "qwen3-235b-a22b": 22.2,
    "deepseek-v3": 37.55,
    "moonlight-16b-a3b": 2.9,
}
"""Parameters of one token, as cards state them (DeepSeek-V3's 37 and Moonlight's 3 are rounded)."""

KV_KIB_PER_TOKEN = {"llama-2-7b": 512, "llama-3.1-70b": 320, "qwen3-30b-a3b": 96, "deepseek-v3": 68.625}
"""bf16; 576 elements a layer for DeepSeek-V3's latent (2412.19437, section 2.1.1)."""


def test_the_catalog_holds_these_models():
    assert set(BILLIONS) <= set(model_names())


@pytest.mark.parametrize("name", sorted(BILLIONS))
def test_a_catalog_model_has_the_parameters_that_its_card_states(name):
    assert read_model(name).parameters() / 1e9 == pytest.approx(BILLIONS[name], abs=0.006)


@pytest.mark.parametrize("name", sorted(ACTIVE_BILLIONS))
def test_a_model_with_experts_computes_a_token_with_few_of_them(name):
    assert read_model(name).active_parameters() / 1e9 == pytest.approx(ACTIVE_BILLIONS[name], abs=0.06)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt-3-175b"])
def test_a_dense_model_computes_a_token_with_all_its_parameters(name):
    model = read_model(name)
    assert model.active_parameters() == model.parameters()


@pytest.mark.parametrize("name", sorted(KV_KIB_PER_TOKEN))
def test_a_token_caches_what_the_attention_needs(name):
    assert read_model(name).kv_bytes_per_token("bf16") / 1024 == KV_KIB_PER_TOKEN[name]


def test_the_first_layers_of_deepseek_have_no_experts():
    model = read_model("deepseek-v3")
    assert (model.dense_layers, model.expert_layers) == (3, 58)
    assert read_model("opt-13b").learned_positions == 2050
