from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.links.collectives import (
    Channel,
    all_gather_seconds,
    all_reduce_seconds,
    all_to_all_seconds,
    broadcast_seconds,
    channel,
    reduce_scatter_seconds,
    send_seconds,
    small_all_reduce_seconds,
)
from planner.domain.catalog import read_device
from planner.domain.cluster import NodePool
from planner.domain.fits import FlatFit

EXACT = FlatFit(share=1.0)

EVERY = (
    all_gather_seconds,
    reduce_scatter_seconds,
    all_reduce_seconds,
    small_all_reduce_seconds,
    all_to_all_seconds,
    broadcast_seconds,
    send_seconds,
)


def one_node(size, *, bytes_per_s=100.0, latency_s=0.0, fit=EXACT):
    """A group inside a node whose link does exactly what it says."""
    return Channel(
        size=size,
        local=size,
        link_bytes_per_s=bytes_per_s,
        link_latency_s=latency_s,
        network_bytes_per_s=bytes_per_s,
        port_bytes_per_s=bytes_per_s,
        network_latency_s=latency_s,
        fit=fit,
    )


def test_a_ring_moves_all_but_the_own_part_of_the_buffer():
    assert all_gather_seconds(one_node(4), 400.0) == pytest.approx(3.0)
    assert reduce_scatter_seconds(one_node(4), 400.0) == pytest.approx(3.0)
    assert all_reduce_seconds(one_node(4), 400.0) == pytest.approx(6.0)


def test_an_all_to_all_keeps_its_own_part_and_a_broadcast_sends_all():
    assert all_to_all_seconds(one_node(4), 400.0) == pytest.approx(3.0)
    assert broadcast_seconds(one_node(4), 400.0) == pytest.approx(4.0)


def test_small_all_reduces_take_the_tree_and_its_fewer_steps():
    on = one_node(8, bytes_per_s=1e12, latency_s=1.0)
    assert all_reduce_seconds(on, 1.0) == pytest.approx(2 * 3)


@pytest.mark.parametrize("seconds", EVERY)
def test_one_rank_needs_no_collective(seconds):
    assert seconds(one_node(1, latency_s=1.0), 100.0) == 0.0


@pytest.mark.parametrize("seconds", EVERY)
def test_arrays_cost_what_their_elements_cost(node_pool, seconds):
    sizes, strides = np.array([[1], [2], [8], [16]]), np.array([1, 2, 8])
    together = seconds(channel(node_pool, size=sizes, stride=strides, devices=128), 3e7)
    for row, size in enumerate([1, 2, 8, 16]):
        for column, stride in enumerate([1, 2, 8]):
            on = channel(node_pool, size=size, stride=stride, devices=128)
            assert together[row, column] == pytest.approx(float(seconds(on, 3e7)), rel=1e-12)


def test_groups_inside_a_node_use_the_devices_links(node_pool):
    assert not channel(node_pool, size=4, stride=2, devices=128).crosses


def test_groups_that_cross_nodes_share_each_nodes_network(node_pool):
    network = node_pool.network.bandwidth
    assert channel(node_pool, size=128, stride=1, devices=128).network_bytes_per_s == network
    assert channel(node_pool, size=16, stride=8, devices=128).network_bytes_per_s == network / 8
    assert channel(node_pool, size=2, stride=64, devices=128).network_bytes_per_s == network / 8


def test_a_pool_of_one_node_never_uses_the_network(node_pool):
    assert not channel(node_pool, size=2, stride=3, devices=6).crosses


def test_an_oversubscribed_network_carries_less(node_pool):
    thin = node_pool.model_copy(update={"oversubscription": 2.0})
    on, full = (channel(pool, size=16, stride=8, devices=128) for pool in (thin, node_pool))
    assert on.network_bytes_per_s == full.network_bytes_per_s / 2


def test_one_device_sends_through_one_rail(node_pool):
    railed = node_pool.model_copy(update={"rails": 8})
    on, whole = (channel(pool, size=2, stride=8, devices=16) for pool in (railed, node_pool))
    assert on.port_bytes_per_s == whole.port_bytes_per_s
    on, whole = (channel(pool, size=16, stride=1, devices=16) for pool in (railed, node_pool))
    assert on.port_bytes_per_s == whole.port_bytes_per_s / 8


@pytest.mark.parametrize("seconds", EVERY)
@given(size=st.integers(2, 64), few=st.floats(1, 1e9), more=st.floats(1, 1e9))
def test_more_bytes_never_take_less_time(seconds, size, few, more):
    on = one_node(size, bytes_per_s=1e9, latency_s=1e-6)
    few, more = sorted((few, more))
    assert seconds(on, few) <= seconds(on, more)


def test_engines_hand_large_messages_to_nccl_and_unknown_ones_have_vllms_kernels(node_pool):
    pool = node_pool.model_copy(update={"device": read_device("h100-sxm-80gb")})
    on = channel(pool, size=2, stride=1, devices=2)
    assert small_all_reduce_seconds(on, 2**16) < all_reduce_seconds(on, 2**16) / 1.4
    assert small_all_reduce_seconds(on, 2**28) == all_reduce_seconds(on, 2**28)
    assert small_all_reduce_seconds(on, 2**16, engine="abacus") == small_all_reduce_seconds(on, 2**16)


def test_exchanges_of_pairs_and_nodes_share_the_network(node_pool):
    one, two = (channel(node_pool, size=size, stride=1, devices=128) for size in (8, 16))
    assert all_to_all_seconds(two, 1e9) > 3 * all_to_all_seconds(one, 1e9)


DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb", "l40s-48gb")
known_device = lru_cache(read_device)
SECONDS = {seconds.__name__: seconds for seconds in EVERY}


@st.composite
def exchanges(draw):
    """A node pool of a catalog device, a group on it, a collective and its bytes."""
    pool = NodePool.model_validate(
        {
            "name": "pool",
            "nodes": 32,
            "devices_per_node": 8,
            "device": known_device(draw(st.sampled_from(DEVICES))),
            "network": {"bandwidth": "400 GB/s", "latency": "5 us"},
            "rails": draw(st.sampled_from([1, 4, 8])),
        }
    )
    group = {"size": draw(st.integers(2, 64)), "stride": draw(st.sampled_from([1, 2, 8])), "devices": 256}
    return pool, group, SECONDS[draw(st.sampled_from(sorted(SECONDS)))], 2.0 ** draw(st.floats(0, 33))


def with_link(pool, *, bandwidth=1.0, latency=1.0):
    link = pool.device.link
    faster = link.model_copy(
        update={"bandwidth": link.bandwidth * bandwidth, "latency": link.latency / latency}
    )
    return pool.model_copy(update={"device": pool.device.model_copy(update={"link": faster})})


def with_network(pool, *, bandwidth=1.0, latency=1.0):
    network = pool.network
    faster = network.model_copy(
        update={"bandwidth": network.bandwidth * bandwidth, "latency": network.latency / latency}
    )
    return pool.model_copy(update={"network": faster})


@settings(max_examples=400)
@given(exchanges(), st.sampled_from([with_link, with_network]), st.floats(1, 8), st.floats(1, 8))
def test_a_faster_link_is_never_slower(exchange, change, bandwidth, latency):
    pool, group, seconds, size = exchange
    before = seconds(channel(pool, **group), size)
    after = seconds(channel(change(pool, bandwidth=bandwidth, latency=latency), **group), size)
    assert after <= before * (1 + 1e-12)


@settings(max_examples=300)
@given(exchanges(), st.floats(1, 1000))
def test_measured_devices_never_take_less_time_for_more_bytes(exchange, factor):
    pool, group, seconds, size = exchange
    on = channel(pool, **group)
    assert seconds(on, size) <= seconds(on, size * factor) * (1 + 1e-12)


@settings(max_examples=300)
@given(exchanges())
def test_no_collective_beats_its_links(exchange):
    """What a rank must receive, over its link or, where the group spans nodes, over its node's network."""
    pool, group, seconds, size = exchange
    on = channel(pool, **group)
    least = size if seconds in (send_seconds, broadcast_seconds) else size * (on.size - 1) / on.size
    assert seconds(on, size) >= least / on.link_bytes_per_s
    if on.crosses:
        assert seconds(on, size) >= size * (on.size - on.local) / on.size / on.network_bytes_per_s


@pytest.mark.parametrize("device", DEVICES[:3])
def test_small_messages_grow_slower_than_the_ring_across_hundreds_of_devices(device, node_pool):
    pool = node_pool.model_copy(update={"device": read_device(device)})
    few, many = (
        float(all_reduce_seconds(channel(pool, size=size, stride=8, devices=8 * size), 1024))
        for size in (4, 16)
    )
    assert few < many < 2.5 * few


def test_large_messages_across_nodes_run_at_the_networks_speed(node_pool):
    size = 2.0**32
    for ranks in (16, 128):
        seconds = all_reduce_seconds(channel(node_pool, size=ranks, stride=1, devices=128), size)
        ideal = 2 * (ranks - 1) / ranks * size / node_pool.network.bandwidth
        assert ideal < seconds < 1.3 * ideal


@pytest.mark.parametrize(
    ("device", "seconds", "size", "ranks", "expected_us"),
    [
        ("a100-sxm-80gb", all_reduce_seconds, 2**28, 8, 2180),
        ("a100-sxm-80gb", all_gather_seconds, 2**28, 4, 1106),
        ("h100-sxm-80gb", all_reduce_seconds, 2**28, 8, 1088),
        ("h100-sxm-80gb", reduce_scatter_seconds, 2**26, 8, 200),
        ("h100-sxm-80gb", all_to_all_seconds, 2**26, 4, 184),
        ("h100-sxm-80gb", small_all_reduce_seconds, 2**17, 4, 5.8),
        ("h100-sxm-80gb", send_seconds, 2**25, 2, 100),
    ],
)
def test_measured_points(device, seconds, size, ranks, expected_us, node_pool):
    """Medians published by aiconfigurator @095f58a5; the last by vidur @7d475133."""
    pool = node_pool.model_copy(update={"device": read_device(device)})
    on = channel(pool, size=ranks, stride=1, devices=ranks)
    assert seconds(on, size) * 1e6 == pytest.approx(expected_us, rel=0.1)
