"""Why nothing fits, and fixes that were checked."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from planner.domain.capabilities import RUNTIME
from planner.domain.pins import Pins
from planner.errors import InfeasibleError, SpecError
from planner.search import solve
from planner.search.refusals.fixes import LARGEST_GROWTH, larger_devices

Build = Callable[..., Any]

LESSER = RUNTIME.model_copy(update=dict.fromkeys(("context", "selective", "offload", "cache_tokens"), False))
"""A runtime that can do less than ours to save memory."""
TIGHT = {"capabilities": LESSER, "pin": Pins({})}
"""Without offload, which would hold almost anything."""
A_DEVICE = re.compile(r"a100-sxm-80gb has \S+ GiB")


def error_of(case: Any, **settings: Any) -> InfeasibleError:
    with pytest.raises(InfeasibleError) as caught:
        solve(*case.arguments, **settings)
    return caught.value


def test_a_role_that_fits_nowhere_is_named_with_its_bytes_and_a_count_that_fits(paper: Build) -> None:
    error = error_of(paper("70b-64", nodes=1, **TIGHT))
    assert re.match(r"actor: needs \S+ GiB per device in actor\.\w+ at .* on 8 devices", error.reason)
    assert A_DEVICE.search(error.reason)
    short = error.shortage
    assert (short.role, short.device, short.memory) == ("actor", "a100-sxm-80gb", "device")
    assert short.phase.startswith("actor.")
    assert short.bytes_short == short.bytes_needed - short.bytes_there > 0
    (nodes,) = (
        int(re.search(r"\((\d+) nodes\)", fix.words)[1]) for fix in error.fixes if fix.kind == "devices"
    )
    assert solve(*paper("70b-64", nodes=nodes, **TIGHT).arguments).plan.proof.status == "optimal"
    error_of(paper("70b-64", nodes=nodes - 1, **TIGHT))


def test_offload_is_a_fix_where_the_runtime_lacks_it(paper: Build) -> None:
    error = error_of(paper("34b-32", nodes=1, **TIGHT))
    assert "offload" in [fix.kind for fix in error.fixes]
    able = {**TIGHT, "capabilities": LESSER.model_copy(update={"offload": True})}
    found = solve(*paper("34b-32", nodes=1, **able).arguments).plan
    assert any(strategy.offload != "none" for strategy in found.strategies.values())


def test_the_nearest_fix_comes_first_and_those_that_cost_devices_last(paper: Build) -> None:
    error = error_of(paper("34b-32", nodes=1, **TIGHT))
    kinds = [fix.kind for fix in error.fixes]
    assert error.fix == error.fixes[0].words
    assert kinds == sorted(kinds, key=lambda kind: kind in ("devices", "device"))
    assert kinds[-1] in ("devices", "device")


def test_a_larger_device_is_a_fix(paper: Build) -> None:
    error = error_of(paper("7b-8", nodes=1, memory=24 * 2**30, **TIGHT))
    (device,) = (fix.words.removesuffix(" is enough") for fix in error.fixes if fix.kind == "device")
    scenario = paper("7b-8", nodes=1, memory=24 * 2**30, **TIGHT).scenario
    known = {each.name: each for each in larger_devices(scenario.cluster.node_pools[0].device)}
    memory = known[device].memory
    assert solve(*paper("7b-8", nodes=1, memory=memory, **TIGHT).arguments).plan.proof.status == "optimal"


def test_host_memory_that_is_short_is_told_apart_from_the_devices(paper: Build) -> None:
    case = paper("7b-8", pin=Pins.model_validate({"actor.offload": "all"}))
    (pool,) = case.scenario.cluster.node_pools
    pool = pool.model_copy(update={"host_memory": 16 * 2**30})
    cluster = case.scenario.cluster.model_copy(update={"node_pools": (pool,)})
    scenario = case.scenario.model_copy(update={"cluster": cluster})
    with pytest.raises(InfeasibleError, match="of host memory per device") as caught:
        solve(scenario, case.graph, case.costs)
    assert caught.value.shortage.memory == "host"
    assert caught.value.shortage.bytes_there == 2 * 2**30
    assert {"offload", "host"} <= {fix.kind for fix in caught.value.fixes}


def test_the_host_memory_that_is_enough_is_a_round_number_near_the_least(paper: Build) -> None:
    case = paper("7b-8", pin=Pins.model_validate({"actor.offload": "all"}))

    def on_hosts_of(gib: int) -> Any:
        return case.scenario.with_node_pools(
            lambda pool: pool.model_copy(update={"host_memory": gib * 2**30})
        )

    with pytest.raises(InfeasibleError) as caught:
        solve(on_hosts_of(16), case.graph, case.costs)
    (words,) = (fix.words for fix in caught.value.fixes if fix.kind == "host")
    enough = int(re.search(r"host_memory: (\d+) GiB in each node", words)[1])
    assert solve(on_hosts_of(enough), case.graph, case.costs).plan.proof.status == "optimal"
    with pytest.raises(InfeasibleError):
        solve(on_hosts_of(enough - (1 if enough < 100 else 10)), case.graph, case.costs)


def test_a_single_node_is_filled_before_another_is_added(synthetic: Build) -> None:
    apart = ("actor", "critic", "reference", "reward")
    error = error_of(synthetic(0, pools=[(1, 3)], bytes_scale=0.3, apart=(apart,)))
    assert "4 of the same devices are enough (in one node)" in [fix.words for fix in error.fixes]


def test_what_saves_memory_is_named_as_its_field_is(paper: Build) -> None:
    error = error_of(paper("70b-64", nodes=1, pin=Pins({})))
    assert ", recompute full, offload optimizer on" in error.reason


def test_one_device_is_one_device(synthetic: Build) -> None:
    apart = ("actor", "critic")
    error = error_of(synthetic(0, pools=[(1, 1)], bytes_scale=0.3, apart=(apart,)))
    assert error.reason.startswith("the 1 device cannot hold")


def test_roles_that_fit_one_by_one_only_are_all_named(paper: Build) -> None:
    error = error_of(paper("34b-32", nodes=2, **TIGHT))
    assert "actor, critic, reference, reward: need at least" in error.reason
    assert error.shortage.role == "actor, critic, reference, reward"
    assert error.shortage.bytes_short > 0


def test_every_solver_that_proves_anything_says_the_same(synthetic: Build) -> None:
    case = synthetic(0, pools=[(1, 2)], bytes_scale=1e6)
    solvers = ("cpsat", "dp", "exhaustive")
    assert len({str(error_of(case, solver=solver)) for solver in solvers}) == 1


def test_an_ability_is_named_as_it_is_set(paper: Build) -> None:
    error = error_of(paper("34b-32", nodes=1, **TIGHT))
    words = [fix.words for fix in error.fixes if fix.kind == "offload"]
    assert words == ["with capabilities.offload: true, on a runtime that can, there is a plan"]


def test_when_a_pin_is_to_blame_the_fix_is_to_drop_it(paper: Build) -> None:
    pin = Pins.model_validate({"actor.train.data": 8, "critic.devices": 8})
    error = error_of(paper("7b-8", **{**TIGHT, "pin": pin}))
    assert error.fix == "without the pin actor.train.data: 8 there is a plan"


def test_a_pinned_recomputation_is_a_fix_of_that_kind(paper: Build) -> None:
    pin = {"critic.train.tensor": 1, "critic.train.data": 1, "critic.micro_batch": 16}
    error = error_of(
        paper("7b-8", **{**TIGHT, "pin": Pins.model_validate(pin | {"critic.recompute": "none"})})
    )
    assert "recompute" in {fix.kind for fix in error.fixes}


def test_a_pin_off_the_grid_is_told_the_grid(paper: Build) -> None:
    error = error_of(paper("7b-16", pin=Pins.model_validate({"actor.devices": 9})))
    assert "pins actor.devices: 9" in error.reason
    (counts,) = re.findall(r"actor\.devices can be (.*)", error.reason)
    assert {"1", "2", "4", "8", "16"} <= set(counts.split(", "))


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        ({"actor.generate.cache_tokens": 1000}, "actor.generate.cache_tokens can only be none"),
        ({"reward.offload": "optimizer"}, "reward.offload can be none, all"),
        ({"reward.recompute": "full"}, "reward.recompute can only be none"),
        ({"critic.micro_batch": 3}, "critic.micro_batch can be 1, 2, 4, 8, 16"),
        ({"actor.train.tensor": 3}, "actor.train.tensor can be 1, 2, 4, 8"),
    ],
)
def test_a_pin_of_what_no_strategy_has_is_told_what_there_is(
    paper: Build, pin: dict[str, Any], expected: str
) -> None:
    error = error_of(paper("7b-8", pin=Pins.model_validate(pin)))
    (why,) = error.reason.split("; ")[1:]
    assert why.startswith(expected)


def test_a_pinned_layout_is_dropped_as_a_whole(paper: Build) -> None:
    error = error_of(paper("34b-32", **{**TIGHT, "pin": Pins.model_validate({"actor.train": "p1t1d32"})}))
    assert "under the pins actor.train: p1t1d32" in error.reason
    assert error.fix == "without the pin actor.train: p1t1d32 there is a plan"


def test_a_pool_larger_than_the_cluster_is_told_how_large_that_is(paper: Build) -> None:
    error = error_of(paper("7b-8", pin=Pins.model_validate({"actor.devices": 64})))
    assert error.reason.startswith("actor: pinned to 64 devices, but no node pool of")
    assert error.fix == "without the pin actor.devices: 64 there is a plan"
    assert "64 of the same devices are enough (8 nodes)" in [fix.words for fix in error.fixes]


def test_a_time_limit_that_nothing_meets_says_the_fastest_there_is(synthetic: Build) -> None:
    fastest = solve(*synthetic(0).arguments).plan.proof.objective
    error = error_of(synthetic(0, within=f"{0.99 * fastest!r} s"))
    assert "the fastest takes" in error.reason
    assert error.fixes[0].kind == "within"
    needed = re.search(r"within: (\S+ s)", error.fix)[1]
    assert solve(*synthetic(0, within=needed).arguments).plan.proof.objective == fastest


def test_when_apart_is_to_blame_the_fix_is_to_drop_it(synthetic: Build) -> None:
    apart = ("actor", "critic", "reference", "reward")
    error = error_of(synthetic(0, pools=[(1, 2)], bytes_scale=0.3, apart=(apart,)))
    assert error.reason.startswith("the 2 devices cannot hold all roles in any permitted placement")
    assert error.fix == "without apart of actor, critic, reference, reward there is a plan"


def test_when_nothing_helps_the_fix_says_what_else_may(synthetic: Build) -> None:
    error = error_of(synthetic(0, bytes_scale=1e6))
    assert error.fixes == ()
    assert f"{LARGEST_GROWTH} times the nodes" in error.fix


@pytest.mark.parametrize(
    ("demands", "words"),
    [
        (
            {"colocate": (("actor", "critic"), ("critic", "reward")), "apart": (("actor", "reward"),)},
            ("colocate", "apart", "actor, critic, reward", "actor and reward"),
        ),
        (
            {"colocate": (("actor", "critic"),), "pin": {"actor.devices": 2, "critic.devices": 4}},
            ("pin actor.devices: 2", "pin critic.devices: 4"),
        ),
    ],
)
def test_contradictory_demands_are_named_and_each_that_may_go(
    synthetic: Build, demands: dict[str, Any], words: tuple[str, ...]
) -> None:
    demands = {**demands, "pin": Pins.model_validate(demands.get("pin", {}))}
    error = error_of(synthetic(0, **demands))
    for word in words:
        assert word in error.reason
    assert {fix.kind for fix in error.fixes} == {"demand"}
    assert len(error.fixes) >= 2


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        ({"reward.train.tensor": 1}, "reward has no 'train' layout, only infer"),
        ({"critic.generate.tensor": 1}, "critic has no 'generate' layout, only train"),
        ({"critic.node_pool": "b"}, "no node pool 'b' (there are pool0)"),
    ],
)
def test_a_pin_of_what_is_not_there_is_a_wrong_input(
    synthetic: Build, pin: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        solve(*synthetic(0, pin=Pins.model_validate(pin)).arguments)
