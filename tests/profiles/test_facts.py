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
    "H100-SXM-80GB": "h100-sxm-80gb",
    "a100-80gb": "a100-sxm-80gb",
    "A100-40GB": "a100-sxm-40gb",
    "A100-PCIe": "a100-pcie-80gb",
    "A800": "a800-sxm-80gb",
    "H800": "h800-sxm-80gb",
    "H20": "h20-sxm-96gb",
    "h200_sxm": "h200-sxm-141gb",
    "B200": "b200-sxm-180gb",
    "gb200_sxm": "gb200-sxm-186gb",
    "B300": "b300-sxm-288gb",
    "GB300": "gb300-sxm-288gb",
    "NVIDIA H100 80GB HBM3": "h100-sxm-80gb",
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40gb",
    "H100 SXM5": "h100-sxm-80gb",
    "l40s": "l40s-48gb",
    "a40": "a40-48gb",
}

MEASURED = {"a100-sxm-80gb", "h100-sxm-80gb"}
"""Devices whose kernels were measured."""

DENSE_TFLOPS = {"a40-48gb": 149.7, "l40s-48gb": 362, "h20-sxm-96gb": 148, "gb200-sxm-186gb": 2500}
"""bf16 without sparsity, half of the figure that data sheets print larger."""


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_devices_answer_to_their_aliases(alias, name):
    assert read_device(alias).name == name


@pytest.mark.parametrize(("name", "tflops"), DENSE_TFLOPS.items())
def test_peaks_are_dense(name, tflops):
    assert read_device(name).peak["bf16"] == pytest.approx(tflops * 1e12, rel=1e-3)


def test_no_two_devices_answer_to_the_same_name():
    devices = [read_device(name) for name in device_names()]
    plain = [
        spelt
        for device in devices
        for spelt in {
            text.casefold().replace("-", "").replace("_", "") for text in (device.name, *device.aliases)
        }
    ]
    assert {text for text in plain if plain.count(text) > 1} == set()


def test_a_device_that_was_not_measured_takes_its_kernels_from_one_that_was_and_says_so():
    for name in set(device_names()) - MEASURED - {"cpu"}:
        device = read_device(name)
        old = device.architecture in ("ampere", "ada")
        relative = "a100-sxm-80gb" if old else "h100-sxm-80gb"
        assert device.kernels.gemm == read_device(relative).kernels.gemm
        assert any(text.startswith("kernels: ") and relative in text for text in device.sources), name


def test_kernels_of_a_relative_that_borrows_are_those_it_borrows():
    assert read_device("gb200").kernels.gemm == read_device("h100").kernels.gemm
    assert read_device("gb200").kernels.attention == read_device("b200").kernels.attention


def test_every_shipped_fact_can_be_read_and_cites_its_source():
    assert [read_model(name).name for name in model_names()] == model_names()
    for name in device_names():
        device = read_device(name)
        assert device.name == name
        assert device.sources
