"""Single keys of a scenario changed on the command line."""

from typing import Any

import pytest

from hybridmap.settings import parse_settings, with_settings
from planner.errors import SpecError

POOLS = {"cluster": {"node_pools": [{"name": "h100", "price": 2}, {"name": "l40s"}]}}


def changed(value: dict[str, Any], *texts: str) -> dict[str, Any]:
    return with_settings(value, parse_settings(texts))


@pytest.mark.parametrize(
    ("text", "prices"),
    [
        ("cluster.node_pools.1.price=0.9", [2, 0.9]),
        ("cluster.node_pools.l40s.price=0.9", [2, 0.9]),
        ("cluster.node_pools.*.price=1", [1, 1]),
    ],
)
def test_entries_go_by_number_by_name_or_all(text: str, prices: list[float]) -> None:
    assert [pool["price"] for pool in changed(POOLS, text)["cluster"]["node_pools"]] == prices


def test_an_unknown_entry_is_told_the_known_ones() -> None:
    with pytest.raises(
        SpecError, match=r"node_pools\.a100\.price: 'a100' is not an entry .*names: h100, l40s"
    ):
        changed(POOLS, "cluster.node_pools.a100.price=1")


def test_what_is_written_in_short_can_be_gone_into() -> None:
    short = {"algorithm": "ppo", "cluster": "2x8xh100", "workload": {"response_tokens": 100}}
    value = changed(
        short,
        "algorithm.clip=0.3",
        "cluster.node_pools.pool.price=2.5",
        "workload.response_tokens.mean=50",
    )
    assert value["algorithm"] == {"name": "ppo", "clip": 0.3}
    assert value["cluster"]["node_pools"][0]["price"] == 2.5
    assert value["workload"] == {"response_tokens": {"mean": 50, "maximum": 100}}


def test_pins_keep_their_dots_and_whole_values_replace() -> None:
    value = changed(
        {}, "pin.actor.train=p1t8d2", "pin.critic.devices=8", "apart=[[actor, critic]]", "within=60 s"
    )
    assert value == {
        "pin": {"actor.train": "p1t8d2", "critic.devices": 8},
        "apart": [["actor", "critic"]],
        "within": "60 s",
    }
