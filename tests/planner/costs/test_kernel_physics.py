"""What no kernel or collective may break, whatever was fitted: FLOPs over the peak, bytes over bandwidths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.kernels.attention import (
    backward_attention_seconds,
    decode_attention_seconds,
    prefill_attention_seconds,
)
from planner.costs.kernels.elementwise import elementwise_seconds
from planner.costs.kernels.gemm import gemm_backward_seconds, gemm_seconds
from planner.costs.links.collectives import (
    all_gather_seconds,
    all_reduce_seconds,
    all_to_all_seconds,
    broadcast_seconds,
    channel,
    reduce_scatter_seconds,
    send_seconds,
    small_all_reduce_seconds,
)
from tests.planner.costs.draws import (
    EXACT,
    ROWS,
    devices,
    factors,
    improved,
    improvements,
    networks,
    pool_of,
    seeds,
    some,
)


def logarithmic(generator, least, most):
    return np.exp(generator.uniform(np.log(least), np.log(most + 1), ROWS)).astype(np.int64)


def kernel_times(generator):
    """Kernels by name: seconds on a device, FLOPs, and bytes that must be read and written."""
    m, n, k = (logarithmic(generator, 1, 40_000) for _ in range(3))
    tokens, sequences = logarithmic(generator, 1, 40_000), logarithmic(generator, 1, 512)
    kv_heads, width = generator.choice([1, 2, 8, 32], ROWS), generator.choice([64, 128, 192], ROWS)
    heads = kv_heads * generator.choice([1, 4, 8], ROWS)
    shape = {"sequences": sequences, "heads": heads, "kv_heads": kv_heads, "head_dim": width}
    product, operands = 2.0 * m * n * k, 2.0 * (m * k + k * n + m * n)
    scores = 4.0 * sequences * heads * width * tokens * (tokens + 1) / 2
    streams = 4.0 * sequences * width * tokens * (heads + kv_heads)
    cached = 4.0 * sequences * width * (heads + tokens * kv_heads)
    return {
        "gemm": (lambda device: gemm_seconds(device, m, n, k), product, operands),
        "gemm backward": (lambda device: gemm_backward_seconds(device, m, n, k), 2 * product, operands),
        "prefill": (
            lambda device: prefill_attention_seconds(device, tokens=tokens, **shape),
            scores,
            streams,
        ),
        "attention backward": (
            lambda device: backward_attention_seconds(device, tokens=tokens, **shape),
            2.5 * scores,
            2 * streams,
        ),
        "decode": (
            lambda device: decode_attention_seconds(device, context=tokens, **shape),
            4.0 * sequences * heads * width * tokens,
            cached,
        ),
        "stream": (lambda device: elementwise_seconds(device, operands), 0.0, operands),
    }


@some
@given(seeds, devices)
def test_no_kernel_beats_the_data_sheet(generator, device):
    for name, (seconds, flops, moved) in kernel_times(generator).items():
        least = np.maximum(flops / device.peak["bf16"], moved / device.memory_bandwidth)
        assert np.all(seconds(device) >= least * EXACT), name


@some
@given(seeds, devices, st.sampled_from(["peak", "memory"]), factors)
def test_no_kernel_is_slower_on_a_faster_device(node_pool, generator, device, name, factor):
    faster = improved(node_pool.model_copy(update={"device": device}), name, factor).device
    for kernel, (seconds, _, _) in kernel_times(generator).items():
        assert np.all(seconds(faster) * EXACT <= seconds(device)), kernel


COLLECTIVES = {
    all_gather_seconds: lambda size: (size - 1) / size,
    reduce_scatter_seconds: lambda size: (size - 1) / size,
    all_reduce_seconds: lambda size: size > 1,
    small_all_reduce_seconds: lambda size: size > 1,
    all_to_all_seconds: lambda size: (size - 1) / size,
    broadcast_seconds: lambda size: size > 1,
    send_seconds: lambda size: size > 1,
}
"""What of its buffer a rank must receive at least."""


@some
@given(seeds, devices, networks)
def test_no_collective_beats_its_links(node_pool, generator, device, network):
    pool = pool_of(node_pool, device, network)
    size, on, message = random_groups(generator, pool)
    fastest = np.where(on.crosses, max(device.link.bandwidth, network), device.link.bandwidth)
    for seconds, received in COLLECTIVES.items():
        assert np.all(seconds(on, message) >= received(size) * message / fastest * EXACT), seconds.__name__


@some
@given(st.integers(0, 1000), devices, networks, improvements, factors)
def test_no_collective_is_slower_on_a_faster_link(node_pool, seed, device, network, name, factor):
    pool = pool_of(node_pool, device, network)
    _, on, message = random_groups(np.random.default_rng(seed), pool)
    _, faster, _ = random_groups(np.random.default_rng(seed), improved(pool, name, factor))
    for seconds in COLLECTIVES:
        assert np.all(seconds(faster, message) * EXACT <= seconds(on, message)), seconds.__name__


@some
@given(seeds, devices, networks, factors)
def test_no_collective_is_faster_with_more_bytes(node_pool, generator, device, network, factor):
    _, on, message = random_groups(generator, pool_of(node_pool, device, network))
    for seconds in COLLECTIVES:
        assert np.all(seconds(on, factor * message) >= seconds(on, message) * EXACT), seconds.__name__


def random_groups(generator, pool):
    """Group sizes, their channels, and bytes from one to 20 GB."""
    size = generator.choice([1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 64, 128], ROWS)
    on = channel(pool, size=size, stride=generator.choice([1, 2, 4, 8, 16], ROWS), devices=pool.devices)
    return size, on, np.exp(generator.uniform(0, np.log(2e10), ROWS))


@pytest.mark.parametrize("collective", COLLECTIVES)
def test_one_rank_exchanges_nothing(node_pool, collective):
    assert collective(channel(node_pool, size=1, stride=1, devices=128), 1e9) == 0.0


def test_a_kernel_without_work_takes_its_launch(node_pool):
    device = node_pool.device
    assert elementwise_seconds(device, 0.0, kernels=3) == 3 * device.kernels.elementwise.launch
