"""Single keys of a scenario changed on the command line."""

from typing import Any

import pytest

from hybridmap.settings import parse_settings, with_settings
from planner.domain.capabilities import RUNTIME
from planner.errors import InfeasibleError, SpecError

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
    sizes = {"pipeline": 1, "tensor": 8, "data": 2, "context": 1, "expert": 1, "virtual": 1}
    layout = {f"actor.train.{field}": size for field, size in sizes.items()}
    assert value == {
        "pin": {**layout, "critic.devices": 8},
        "apart": [["actor", "critic"]],
        "within": "60 s",
    }


def test_the_capabilities_of_the_runtime_can_be_changed_key_by_key() -> None:
    value = changed({}, "capabilities=runtime", "capabilities.offload=true")
    assert value["capabilities"] == RUNTIME.model_dump(mode="json") | {"offload": True}


def test_a_part_of_a_files_layout_can_be_changed() -> None:
    value = changed({"pin": {"actor.train": "p1t2d4"}}, "pin.actor.train.tensor=4")
    assert (value["pin"]["actor.train.tensor"], value["pin"]["actor.train.data"]) == (4, 4)


def test_a_key_with_two_values_is_refused_with_both() -> None:
    with pytest.raises(SpecError) as caught:
        parse_settings(["actor.train.tensor=2", "actor.train.tensor=4"], option="--with")
    assert str(caught.value) == (
        "command line: --with actor.train.tensor: is given twice, as actor.train.tensor=2 and as "
        "actor.train.tensor=4; give one"
    )


@pytest.mark.parametrize("prefix", ["", "pin."])
def test_pins_that_contradict_each_other_are_refused_with_both(prefix: str) -> None:
    texts = [f"{prefix}actor.train=p1t2d4", f"{prefix}actor.train.tensor=4"]
    with pytest.raises(InfeasibleError) as caught:
        parse_settings(texts)
    assert f"--set {texts[0]} and --set {texts[1]} contradict each other" in caught.value.reason


def test_the_same_value_twice_and_several_groups_are_no_contradiction() -> None:
    texts = ["within=60 s", "within=60 s", "apart=actor,critic", "apart=actor,reward"]
    assert len(parse_settings(texts)) == 4


@pytest.mark.parametrize("value", ["2020-99-99", "{a: 1, a: 2}", "[1", ".inf"])
def test_what_is_no_value_is_refused(value: str) -> None:
    with pytest.raises(SpecError, match=r"^command line: --set key="):
        parse_settings([f"key={value}"])
