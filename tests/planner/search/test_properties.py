"""What must hold of best plans, whatever they are."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from planner.algorithms import ALGORITHMS, asynchronous, trace
from planner.domain.dataflow import DataflowGraph
from planner.domain.pins import Pins
from planner.errors import SearchStoppedError
from planner.search import solve
from tests.planner.search.brute_force import is_as_pinned
from tests.planner.search.draws import BARE, Drawn, drawn
from tests.planner.search.toys import Case, SyntheticCosts, small_scenario

FREE: dict[str, Any] = {
    "pin": {},
    "colocate": (),
    "apart": (),
    "maximum_devices": None,
    "minimise": "seconds",
    "within": None,
}
SECONDS: dict[str, Any] = {"minimise": "seconds", "within": None}


def objective(case: Case, **changes: Any) -> float:
    """Of the best plan of a changed scenario; infinite where there is none."""
    scenario = case.scenario.model_copy(update=changes)
    plan = Drawn(0, replace(case, scenario=scenario)).plan("dp")
    return math.inf if plan is None else plan.proof.objective


def in_node_pools(case: Case, **changes: Any) -> dict[str, Any]:
    """The cluster with every node pool changed."""
    cluster = case.scenario.cluster
    pools = tuple(pool.model_copy(update=changes) for pool in cluster.node_pools)
    return {"cluster": cluster.model_copy(update={"node_pools": pools})}


def with_memory(case: Case, memory: int) -> dict[str, Any]:
    """The cluster with other devices."""
    device = case.scenario.cluster.node_pools[0].device.model_copy(update={"memory": memory})
    return in_node_pools(case, device=device)


def assert_never_worse(objectives: list[float]) -> None:
    """And better in the end, so that what grew was short."""
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[0] > objectives[-1]


@pytest.mark.parametrize("seed", range(1, 7))
def test_more_memory_never_makes_the_optimum_worse(seed: int) -> None:
    case = drawn(seed, **SECONDS).case
    assert_never_worse([objective(case, **with_memory(case, size * 10**9)) for size in (9, 13, 17, 60)])


@pytest.mark.parametrize("seed", [9, 10])
def test_more_host_memory_never_makes_the_optimum_worse(seed: int) -> None:
    case = drawn(seed, **FREE).case
    able = case.scenario.capabilities.model_copy(update={"offload": True})
    case = replace(case, scenario=case.scenario.model_copy(update={"capabilities": able}))
    sizes = (1, 4 * 10**9, 16 * 10**9, None)
    assert_never_worse([objective(case, **in_node_pools(case, host_memory=size)) for size in sizes])


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5, 7])
def test_more_nodes_never_make_the_optimum_worse(seed: int) -> None:
    case = drawn(seed, pools=[(1, 2)], **SECONDS).case
    assert_never_worse([objective(case, **in_node_pools(case, nodes=nodes)) for nodes in (1, 2, 3)])


@pytest.mark.parametrize("seed", [0, 2, 4, 5, 6, 7])
def test_a_demand_never_improves_the_objective(seed: int) -> None:
    case = drawn(seed, **FREE).case
    free, roles = objective(case), case.graph.roles
    assert free < math.inf
    for pin in ({"actor.devices": 2}, {"actor.train.tensor": 2}, {"actor.recompute": "full"}):
        assert objective(case, pin=Pins.model_validate(pin)) >= free
    assert objective(case, colocate=(roles[:2],)) >= free
    assert objective(case, apart=(roles[:2],)) >= free
    assert objective(case, maximum_devices=2) >= free


@pytest.mark.parametrize(
    "pin",
    [
        {"actor.train.tensor": 2},
        {"actor.devices": 2},
        {"critic.train": "p1t1d2"},
        {"actor.generate.tensor": 1, "reward.infer.pipeline": 2},
        {"critic.recompute": "full", "actor.micro_batch": 1},
        {"reference.node_pool": "pool0", "reference.devices": 1},
    ],
)
def test_a_pin_is_obeyed_and_never_improves_the_objective(
    synthetic: Callable[..., Case], pin: dict[str, Any]
) -> None:
    for seed in range(2):
        pinned = synthetic(seed, pools=[(2, 2)], pin=Pins.model_validate(pin))
        plan = Drawn(seed, pinned).plan("cpsat")
        assert plan is not None
        assert plan.proof.objective >= objective(synthetic(seed, pools=[(2, 2)]))
        for role, strategy in plan.strategies.items():
            pool = plan.pool_of(role)
            assert is_as_pinned(pinned.scenario, role, (pool.node_pool, pool.devices), strategy)


def test_colocate_and_apart_are_obeyed(synthetic: Callable[..., Case]) -> None:
    demands = {"colocate": (("actor", "reward"),), "apart": (("actor", "critic"), ("reference", "critic"))}
    plan = Drawn(5, synthetic(5, **demands)).plan("cpsat")
    assert plan is not None
    assert plan.pool_of("actor") == plan.pool_of("reward")
    assert plan.pool_of("critic").roles == ("critic",)
    assert plan.proof.objective >= objective(synthetic(5))


def test_the_bound_never_exceeds_the_objective_however_early_the_search_stops() -> None:
    seen: Counter[str] = Counter()
    for seed in range(8):
        case = drawn(seed, **FREE).case
        case = replace(case, scenario=case.scenario.model_copy(update=with_memory(case, 60 * 10**9)))
        proven = objective(case)
        for seconds in (0.0, 0.05):
            try:
                proof = solve(*case.arguments, time_limit_s=seconds).plan.proof
            except SearchStoppedError:
                continue
            assert proof.bound <= proven <= proof.objective
            seen[proof.status] += 1
    assert seen["feasible"] >= 3, seen


@pytest.mark.parametrize("seed", range(4))
def test_more_staleness_never_lengthens_the_period(seed: int) -> None:
    graph = trace(ALGORITHMS[("remax", "grpo")[seed % 2]], name="algorithm")
    workload = {"prompts": 2, "samples_per_prompt": 2, "prompt_tokens": 4, "response_tokens": 4}

    def period(dataflow: DataflowGraph) -> float:
        settings = {"workload": workload, "capabilities": BARE, "staleness": dataflow.staleness}
        scenario = small_scenario(dataflow, **settings, pools=[(1, 4)], algorithm=("remax", "grpo")[seed % 2])
        return objective(Case(scenario, dataflow, SyntheticCosts(seed, dataflow, 0.7)))

    stale = [period(asynchronous(graph, staleness)) for staleness in (1, 2, 3)]
    assert stale == sorted(stale, reverse=True)
    assert stale[0] < math.inf


def original(roles: Any, prompts: Any) -> None:
    batch = roles.actor.generate(prompts)
    batch = batch | roles.critic.values(batch) | roles.reference.logprobs(batch)
    batch = roles.controller.advantages(batch, estimator="gae")
    roles.critic.update(batch, loss="value")
    roles.actor.update(batch, loss="ppo")


def renamed(roles: Any, prompts: Any) -> None:
    batch = roles.student.generate(prompts)
    batch = batch | roles.coach.values(batch) | roles.anchor.logprobs(batch)
    batch = roles.controller.advantages(batch, estimator="gae")
    roles.coach.update(batch, loss="value")
    roles.student.update(batch, loss="ppo")


ROLES = {"student": "actor", "coach": "critic", "anchor": "reference"}


@pytest.mark.parametrize("time_model", ["stage", "period"])
@pytest.mark.parametrize("seed", range(4))
def test_other_names_of_roles_models_and_node_pools_change_nothing(seed: int, time_model: str) -> None:
    settings = {"pools": [(1, 2), (1, 3)], "time_model": time_model}
    graph, other = trace(original, name="original"), trace(renamed, name="renamed")
    case = Case(small_scenario(graph, **settings), graph, SyntheticCosts(seed, graph, 1.5))
    scenario = small_scenario(other, **settings, model={"name": "else"})
    pools = tuple(
        pool.model_copy(update={"name": name})
        for pool, name in zip(scenario.cluster.node_pools, ("west", "east"), strict=True)
    )
    scenario = scenario.model_copy(
        update={"name": "other", "cluster": scenario.cluster.model_copy(update={"node_pools": pools})}
    )
    calls = {call.name: one.name for call, one in zip(other.calls, graph.calls, strict=True)}
    aliases = {**ROLES, **calls, "west": "pool0", "east": "pool1"}
    twin = Drawn(0, Case(scenario, other, SyntheticCosts(seed, other, 1.5, aliases=aliases))).plan("cpsat")
    plan = Drawn(0, case).plan("cpsat")
    assert plan is not None
    assert twin is not None
    assert twin.proof.objective == plan.proof.objective
    assert [tuple(ROLES[role] for role in roles) for roles in twin.placement] == list(plan.placement)
    assert [pool.devices for pool in twin.pools] == [pool.devices for pool in plan.pools]
