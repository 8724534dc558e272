"""The grid of allocations."""

from itertools import pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from planner.domain.cluster import NodePool
from planner.search.allocation import Slot, device_counts, divisor_chain, enumerate_allocations


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
