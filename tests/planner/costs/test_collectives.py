import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.collectives import (
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
