"""Plans with staleness: the better one of the synchronous and the asynchronous dataflow."""

from collections.abc import Callable

import pytest

from planner.algorithms import planned_dataflow
from planner.costs.iteration import period
from planner.costs.sync.crossing import crossings
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.studies import planning
from planner.studies.critical import critical
from planner.studies.planning import SearchSettings, dataflows, plan, timeline
from planner.studies.scoring import score

Build = Callable[..., Scenario]

LONG = {"prompts": 64, "prompt_tokens": 256, "response_tokens": 4096, "mini_batches": 4}
"""Generation that few devices do nearly as fast as many."""
NETWORK = {"bandwidth": "25 GB/s", "latency": "5 us"}
TWO_POOLS = {
    "node_pools": [
        {"name": name, "nodes": 1, "devices_per_node": 4, "device": device, "network": NETWORK}
        for name, device in (("old", "a100-sxm-80gb"), ("new", "h100-sxm-80gb"))
    ],
    "between": {"bandwidth": "5 GB/s", "latency": "50 us"},
}


@pytest.fixture(scope="module")
def by_staleness(tiny: Build) -> list[Plan]:
    return [plan(tiny(workload=LONG, staleness=k)).plan for k in (0, 1, 2)]


def test_more_staleness_never_lengthens_the_period(by_staleness: list[Plan]) -> None:
    seconds = [each.prediction.iteration_seconds for each in by_staleness]
    assert seconds[0] > seconds[1] >= seconds[2]
    assert [each.staleness for each in by_staleness] == [0, 1, 2]
    assert {each.proof.status for each in by_staleness} == {"optimal"}


def test_without_staleness_there_is_no_generator(by_staleness: list[Plan]) -> None:
    assert "generator" not in by_staleness[0].strategies


def test_where_the_asynchronous_plan_loses_the_synchronous_one_is_taken(tiny: Build) -> None:
    """The generator would take one of two devices from updates that need both, for responses of 16 tokens."""
    short = {
        "algorithm": "grpo",
        "models": dict.fromkeys(("actor", "reference", "reward"), "llama-3.2-1b"),
        "cluster": "1x2xa100-sxm-80gb",
        "workload": LONG
        | {"samples_per_prompt": 2, "prompt_tokens": 1024, "response_tokens": 16, "epochs": 4},
    }
    found, same = (plan(tiny(**short, staleness=staleness)).plan for staleness in (1, 0))
    assert found.staleness == 0
    assert (found.pools, found.strategies, found.proof) == (same.pools, same.strategies, same.proof)
    assert found.proof.status == "optimal"


def test_the_generator_has_a_pool_without_the_actor(by_staleness: list[Plan]) -> None:
    for each in by_staleness[1:]:
        assert each.pool_of("generator") is not each.pool_of("actor")
        assert each.strategies["generator"].train is each.strategies["generator"].infer is None
        assert each.strategies["actor"].generate is None
        assert {"actor.send", "generator.receive"} <= set(each.prediction.calls)


def test_the_orders_of_the_plan_have_its_period(tiny: Build, by_staleness: list[Plan]) -> None:
    for each in (*by_staleness, plan(tiny(workload=LONG, staleness=1, cluster=TWO_POOLS)).plan):
        graph = planned_dataflow(each)
        seconds = {name: call.seconds for name, call in each.prediction.calls.items()}
        homes = {role: pool.node_pool for pool in each.pools for role in pool.roles}
        away = crossings(each.scenario, graph, homes)
        assert period(graph, each.pools, seconds, crossings=away) == each.prediction.iteration_seconds
        assert each.proof.objective == pytest.approx(each.prediction.iteration_seconds, abs=2e-5)


def test_weights_and_data_cross_between_node_pools(tiny: Build) -> None:
    """A slower link between the same node pools costs time, and then decides the period."""
    slow = TWO_POOLS | {"between": {"bandwidth": "10 MB/s", "latency": "50 us"}}
    pins = {"generator.node_pool": "new", "actor.node_pool": "old"}
    fast, slower = (
        plan(tiny(workload=LONG, staleness=1, cluster=each, pin=pins)).plan for each in (TWO_POOLS, slow)
    )
    assert fast.proof.objective < slower.proof.objective
    decides = critical(slower)
    assert (decides.kind, decides.link, decides.calls) == ("link", ("old", "new"), ())
    assert (decides.crossings[0].source, decides.crossings[0].target) == ("actor.send", "generator.receive")
    assert sum(each.seconds for each in decides.crossings) == pytest.approx(decides.seconds)
    assert decides.seconds == slower.prediction.iteration_seconds
    assert critical(fast).kind != "link"
    assert {other.loses_kind for other in slower.runners_up} == {"crosses"}
    assert score(slower.scenario, slower).plan.proof.objective == slower.proof.objective


def test_a_demand_on_the_generator_asks_for_one(tiny: Build) -> None:
    demanded = tiny(staleness=1, pin={"generator.devices": 1})
    assert [graph.staleness for graph in dataflows(demanded)] == [1]
    found = plan(demanded).plan
    assert (found.staleness, found.pool_of("generator").devices) == (1, 1)
    with pytest.raises(InfeasibleError, match="actor"):
        plan(tiny(staleness=1, colocate=[["actor", "generator"]]))


def test_how_the_actor_generates_is_pinned_for_its_generator(tiny: Build) -> None:
    pinned = plan(tiny(workload=LONG, staleness=1, pin={"actor.generate.tensor": 2})).plan
    assert pinned.staleness == 1
    assert pinned.strategies["generator"].generate.tensor == 2


def test_the_better_plan_is_chosen_by_what_is_minimised(tiny: Build, by_staleness: list[Plan]) -> None:
    tokens = plan(tiny(workload=LONG, staleness=1, minimise="tokens_per_second")).plan
    work = tokens.scenario.workload
    assert tokens.staleness == 1
    assert tokens.proof.objective == pytest.approx(work.total_tokens / by_staleness[1].proof.objective)


def test_the_bound_is_that_of_both_dataflows(by_staleness: list[Plan]) -> None:
    one, other = by_staleness[:2]
    open_proof = other.proof.model_copy(update={"bound": other.proof.bound / 2, "status": "feasible"})
    slow = open_proof.model_copy(update={"objective": 2 * one.proof.objective})
    best = planning._best([one, other.model_copy(update={"proof": slow})], is_open=False)
    assert best.pools == one.pools
    assert (best.proof.status, best.proof.bound) == ("feasible", other.proof.bound / 2)
    assert planning._best([one], is_open=True).proof.bound == 0.0
    assert planning._best([one, other], is_open=False).proof == other.proof


def test_a_plan_with_a_generator_is_simulated_in_its_own_dataflow(by_staleness: list[Plan]) -> None:
    calls = {span.call for span in timeline(by_staleness[1], iterations=2).spans}
    assert {"generator.generate", "generator.receive", "actor.send"} <= calls
    assert "actor.generate" not in calls


def test_the_checker_without_a_solver_finds_the_same_period(tiny: Build, by_staleness: list[Plan]) -> None:
    found = plan(tiny(workload=LONG, staleness=1), settings=SearchSettings(solver="dp")).plan
    assert found.proof.objective == by_staleness[1].proof.objective


def test_a_limit_that_is_too_short_is_refused_with_the_faster_dataflows_seconds(tiny: Build) -> None:
    free = plan(tiny(staleness=1)).plan
    assert free.staleness == 1
    with pytest.raises(InfeasibleError, match="the fastest takes") as refusal:
        plan(tiny(staleness=1, within="1 ms"))
    assert refusal.value.fastest_s == pytest.approx(free.prediction.iteration_seconds, rel=1e-4)
