import pytest

from planner.domain.catalog import device_names, model_names, read_device, read_model

BILLIONS = {
    "llama-2-7b": 6.74,
    "llama-2-13b": 13.02,
    "llama-2-70b": 68.98,
    "codellama-34b": 33.74,
    "llama-3.1-8b": 8.03,
    "llama-3.1-70b": 70.55,
    "qwen2.5-7b": 7.62,
    "qwen2.5-32b": 32.76,
    "qwen3-8b": 8.19,
    "qwen3-32b": 32.76,
}
"""Parameters that the models' cards state."""

ALIASES = {
    "A100": "a100-sxm-80gb",
    "A100-SXM4-80GB": "a100-sxm-80gb",
    "a100_sxm": "a100-sxm-80gb",
    "H100_SXM": "h100-sxm-80gb",
    "h100-sxm-80gb": "h100-sxm-80gb",
    "H200": "h200-sxm-141gb",
    "b200_sxm": "b200-sxm-180gb",
    "cpu": "cpu",
}


@pytest.mark.parametrize("name", sorted(BILLIONS))
def test_a_catalog_model_has_the_parameters_that_its_card_states(name):
    assert read_model(name).parameters() / 1e9 == pytest.approx(BILLIONS[name], abs=0.006)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_devices_answer_to_their_aliases(alias, name):
    assert read_device(alias).name == name


def test_every_shipped_fact_can_be_read_and_cites_its_source():
    assert {read_model(name).name for name in model_names()} >= set(BILLIONS)
    for name in device_names():
        device = read_device(name)
        assert device.name == name
        assert device.sources
