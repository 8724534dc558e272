"""The grid of allocations."""

from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.cluster import NodePool
from planner.domain.pins import Pins
from planner.search.problem.allocation import (
    Slot,
    device_counts,
    divisor_chain,
    enumerate_allocations,
    node_counts,
    scenario_slots,
)
from tests.planner.search.toys import PPO, small_scenario


@pytest.fixture
def scenario() -> Any:
    return small_scenario(PPO, pools=[(41, 4)])


def node_pool(nodes: int, per_node: int) -> NodePool:
    return NodePool.model_construct(name="a", nodes=nodes, devices_per_node=per_node)


@given(st.integers(1, 200))
def test_each_divisor_of_the_chain_divides_the_next_up_to_the_number(number: int) -> None:
    chain = divisor_chain(number)
    assert chain[0] == 1
    assert chain[-1] == number
    assert all(after % before == 0 and after > before for before, after in pairwise(chain))


def test_the_chain_of_a_power_of_two_is_all_its_divisors() -> None:
    assert divisor_chain(16) == [1, 2, 4, 8, 16]


@given(st.integers(2, 5), st.integers(1, 72), st.data())
def test_pools_that_take_no_more_than_all_devices_pack_into_nodes(
    nodes: int, per_node: int, data: st.DataObject
) -> None:
    counts = device_counts(node_pool(nodes, per_node))
    left, pools = nodes * per_node, []
    while left and len(pools) < 12:
        pools.append(data.draw(st.sampled_from([count for count in counts if count <= left])))
        left -= pools[-1]
    room = [per_node] * nodes
    for devices in sorted(pools, reverse=True):
        part = min(devices, per_node)
        fits = [node for node, free in enumerate(room) if free >= part][: devices // part]
        assert len(fits) == devices // part
        for node in fits:
            assert (per_node - room[node]) % part == 0
            room[node] -= part


def test_allocations_are_exactly_the_choices_within_every_node_pool() -> None:
    slots = [Slot("a", 1), Slot("a", 2), Slot("b", 1), Slot("b", 3)]
    capacities = {"a": 3, "b": 4}
    expected = [
        chosen
        for chosen in product(slots, repeat=3)
        if all(
            sum(slot.devices for slot in chosen if slot.node_pool == name) <= devices
            for name, devices in capacities.items()
        )
    ]
    assert list(enumerate_allocations([slots] * 3, capacities)) == expected


@given(st.integers(2, 2048), st.integers(2, 2048))
def test_a_greater_cluster_has_the_device_counts_of_a_smaller_one(nodes: int, more: int) -> None:
    smaller, greater = sorted((nodes, more))
    assert set(device_counts(node_pool(smaller, 8))) <= set(device_counts(node_pool(greater, 8)))


@given(st.integers(2, 2048))
def test_counts_of_nodes_stay_within_a_sixteenth_of_each_other(nodes: int) -> None:
    counts = node_counts(nodes)
    assert counts[: min(32, nodes)] == list(range(1, min(32, nodes) + 1))
    assert nodes - counts[-1] <= counts[-1] / 16
    assert all(after - before <= before / 16 for before, after in pairwise(counts[31:]))


def test_the_greatest_cluster_has_some_130_slots() -> None:
    assert len(device_counts(node_pool(2048, 8))) == 131


def test_pins_add_whole_nodes_and_no_pool_exceeds_the_greatest(scenario: Any) -> None:
    """Of 41 nodes only even counts are in the grid beyond 32, and parts of a node are not."""
    free = scenario_slots(scenario)
    pinned = scenario.model_copy(update={"pin": Pins({"actor.devices": 33 * 4, "critic.devices": 3})})
    assert set(scenario_slots(pinned)) - set(free) == {Slot("pool0", 33 * 4)}
    limited = scenario_slots(pinned.model_copy(update={"maximum_devices": 33 * 4}))
    assert max(slot.devices for slot in limited) == 33 * 4
    assert set(limited) <= set(scenario_slots(pinned))
