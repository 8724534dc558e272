import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.kernels.elementwise import (
    cross_entropy_bytes,
    elementwise_seconds,
    embedding_bytes,
    optimizer_seconds,
)
from planner.domain.catalog import read_device

NAMES = ("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "cpu")
DEVICES = {name: read_device(name) for name in NAMES}
H100 = DEVICES["h100-sxm-80gb"]


@given(
    st.sampled_from(NAMES),
    st.sampled_from(("plain", "norm", "activation", "rotary", "embedding")),
    st.floats(min_value=1.0, max_value=1e12),
)
def test_never_faster_than_the_memory(name, kind, moved):
    device = DEVICES[name]
    assert elementwise_seconds(device, moved, kind=kind) >= moved / device.memory_bandwidth


def test_small_kernels_cost_their_launches_and_large_ones_their_bytes():
    launch = H100.kernels.elementwise.launch
    assert elementwise_seconds(H100, 0.0, kernels=5) == pytest.approx(5 * launch)
    more = elementwise_seconds(H100, np.array([1e9, 2e9])) - launch
    assert more[1] == pytest.approx(2 * more[0])


def test_kernels_of_serving_engines_are_slower_than_plain_ones():
    plain = elementwise_seconds(H100, 1e8)
    assert elementwise_seconds(H100, 1e8, kind="norm") > 1.5 * plain
    assert optimizer_seconds(H100, 1e8) == pytest.approx(plain)


def test_bytes_of_the_loss_and_of_a_lookup():
    assert cross_entropy_bytes(10, 100, 2) == 10 * 100 * 32
    assert embedding_bytes(10, 4096, 2) == 10 * (2 * 8192 + 8)
