import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.collectives import (
    Channel,
    all_gather_seconds,
    all_reduce_seconds,
    channel,
    reduce_scatter_seconds,
    send_seconds,
)

SMOOTH = Channel(size=4, bytes_per_s=100.0, latency_s=0.0)


def test_a_ring_moves_all_but_the_own_part_of_the_buffer():
    assert all_gather_seconds(SMOOTH, 400.0) == pytest.approx(3.0)
    assert reduce_scatter_seconds(SMOOTH, 400.0) == pytest.approx(3.0)
    assert all_reduce_seconds(SMOOTH, 400.0) == pytest.approx(6.0)


def test_small_all_reduces_take_the_tree_and_its_fewer_steps():
    on = Channel(size=8, bytes_per_s=1e12, latency_s=1.0)
    assert all_reduce_seconds(on, 1.0) == pytest.approx(2 * 3)


def test_one_rank_needs_no_collective():
    alone = Channel(size=1, bytes_per_s=1.0, latency_s=1.0)
    for seconds in (all_gather_seconds, reduce_scatter_seconds, all_reduce_seconds, send_seconds):
        assert seconds(alone, 100.0) == 0.0


def test_groups_inside_a_node_use_the_devices_links(setting):
    on = channel(setting.rates, size=4, stride=2, devices=128)
    assert on.bytes_per_s == setting.rates.link_bytes_per_s


def test_rings_that_cross_nodes_share_each_nodes_network(setting):
    rates = setting.rates
    assert channel(rates, size=128, stride=1, devices=128).bytes_per_s == rates.network_bytes_per_s
    assert channel(rates, size=16, stride=8, devices=128).bytes_per_s == rates.network_bytes_per_s / 8
    assert channel(rates, size=2, stride=64, devices=128).bytes_per_s == rates.network_bytes_per_s / 8


def test_a_pool_of_one_node_never_uses_the_network(setting):
    on = channel(setting.rates, size=2, stride=3, devices=6)
    assert on.latency_s == setting.rates.link_latency_s


@given(st.integers(2, 64), st.floats(1, 1e9), st.floats(1, 1e9))
def test_more_bytes_never_take_less_time(size, few, more):
    on = Channel(size=size, bytes_per_s=1e9, latency_s=1e-6)
    few, more = sorted((few, more))
    assert all_reduce_seconds(on, few) <= all_reduce_seconds(on, more)
