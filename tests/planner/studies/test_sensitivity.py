"""What better hardware would buy."""

from collections.abc import Callable

import pytest

from planner.domain.reading import parse_cluster
from planner.domain.scenario import Scenario
from planner.studies.planning import plan
from planner.studies.sensitivity import improvements, sensitivity

Build = Callable[..., Scenario]


def test_better_hardware_never_costs_anything(tiny: Build) -> None:
    best = plan(tiny()).plan
    told: list[str] = []
    gains = list(sensitivity(best, progress=told.append))
    assert [gain.words for gain in gains] == told
    assert {"link inside a node x2", "memory of a device x2", "one node more"} <= set(told)
    for gain in gains:
        assert gain.price is not None, gain.words
        assert gain.price.before == best
        if not gain.words.endswith("gb"):
            assert gain.price.amount <= 0, gain.words


def test_a_faster_link_shortens_calls(tiny: Build) -> None:
    scenario = tiny(pin={"actor.train.tensor": 4, "critic.train.tensor": 4})
    best = plan(scenario).plan
    (gain,) = (gain for gain in sensitivity(best) if gain.words == "link inside a node x2")
    assert gain.price is not None
    assert gain.price.amount < 0
    assert any(call.growth_s < 0 for call in gain.price.calls)


def test_each_node_pool_is_improved_alone_and_so_is_the_link_between_them(tiny: Build) -> None:
    pools = [{**parse_cluster("2x2xa100-sxm-80gb")["node_pools"][0], "name": name} for name in "ab"]
    scenario = tiny(cluster={"node_pools": pools})
    changed = {each.words: each.scenario.cluster for each in improvements(scenario)}
    assert changed["memory of a device x2 of b"].node_pool("a") == scenario.cluster.node_pool("a")
    memory = scenario.cluster.node_pool("b").device.memory
    assert changed["memory of a device x2 of b"].node_pool("b").device.memory == 2 * memory
    crossing = scenario.cluster.crossing.bandwidth
    assert changed["link between node pools x2"].crossing.bandwidth == 2 * crossing
    network = scenario.cluster.node_pool("a").network.bandwidth
    assert changed["network between nodes x2 of a"].node_pool("a").network.bandwidth == 2 * network


@pytest.mark.parametrize(("nodes", "expected"), [(1, [2]), (2, [3, 4]), (2048, [])])
def test_more_nodes_are_tried_as_far_as_a_cluster_may_grow(
    tiny: Build, nodes: int, expected: list[int]
) -> None:
    scenario = tiny(cluster=f"{nodes}x4xa100-sxm-80gb")
    sizes = [each.scenario.cluster.node_pools[0].nodes for each in improvements(scenario)]
    assert sorted(size for size in sizes if size != nodes) == expected


@pytest.mark.parametrize(("price", "end"), [(None, ""), (2.0, ", at the same price")])
def test_another_device_says_whose_place_it_takes_and_that_the_price_stays(
    tiny: Build, price: float | None, end: str
) -> None:
    pool = {**parse_cluster("1x4xa100-sxm-80gb")["node_pools"][0], "price": price}
    words = [each.words for each in improvements(tiny(cluster={"node_pools": [pool]}))]
    assert f"h100-sxm-80gb in the place of a100-sxm-80gb{end}" in words
    two = tiny(cluster={"node_pools": [{**pool, "name": "a"}, {**pool, "name": "b"}]})
    words = [each.words for each in improvements(two)]
    assert f"h100-sxm-80gb in the place of a100-sxm-80gb of b{end}" in words
