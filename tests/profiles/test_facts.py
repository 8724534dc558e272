import pytest

from planner.domain.catalog import device_names, model_names, read_device, read_model

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


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_devices_answer_to_their_aliases(alias, name):
    assert read_device(alias).name == name


def test_every_shipped_fact_can_be_read_and_cites_its_source():
    assert [read_model(name).name for name in model_names()] == model_names()
    for name in device_names():
        device = read_device(name)
        assert device.name == name
        assert device.sources
