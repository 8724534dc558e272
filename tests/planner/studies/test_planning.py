"""What plans of real costs hold: more nodes, services that are busy, baselines, limits, runners-up."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError, SearchStoppedError, SpecError
from planner.studies.planning import SearchSettings, plan, simulate

Build = Callable[..., Scenario]
ROLES = ("actor", "critic", "reference", "reward")
SHORT = {"prompts": 64, "prompt_tokens": 256, "response_tokens": 256, "mini_batches": 4}
LONG = {"prompts": 32, "prompt_tokens": 128, "response_tokens": 4096, "mini_batches": 4}
REMAX = {"algorithm": "remax", "models": dict.fromkeys(("actor", "reference", "reward"), "llama-3.2-1b")}

DEFAULT, BASELINE = SearchSettings(), SearchSettings(solver="hybridflow")


def on_nodes(tiny: Build, nodes: int, per_node: int, **changes: Any) -> float:
    """The objective of the best plan on so many nodes."""
    return plan(tiny(cluster=f"{nodes}x{per_node}xa100-sxm-80gb", **changes)).plan.proof.objective


@pytest.mark.parametrize(
    "changes",
    [
        {"apart": [["actor", "critic"]], "time_model": "stage"},
        {"apart": [["actor", "critic"], ["critic", "reference"]]},
        {"maximum_devices": 4},
        {"minimise": "devices", "within": "6 s"},
        {"staleness": 2} | REMAX,
    ],
)
@pytest.mark.parametrize("per_node", [5, 8])
def test_more_nodes_never_make_the_best_plan_worse(
    tiny: Build, per_node: int, changes: dict[str, Any]
) -> None:
    objectives = [on_nodes(tiny, nodes, per_node, **{"workload": SHORT} | changes) for nodes in (1, 2, 3)]
    assert all(more <= fewer for fewer, more in pairwise(objectives))


def test_a_single_node_of_several_is_parted_as_if_it_were_alone(tiny: Build) -> None:
    """Five and three of eight devices, which two nodes need not take more of than one does."""
    pinned = {"pin": {"actor.devices": 5, "critic.devices": 3}, "workload": SHORT}
    one, two = (plan(tiny(cluster=f"{nodes}x8xa100-sxm-80gb", **pinned)).plan for nodes in (1, 2))
    assert two.proof.objective == one.proof.objective
    assert {pool.devices for pool in two.pools} == {5, 3}


@pytest.mark.parametrize("staleness", [0, 1, 4])
def test_no_period_is_shorter_than_what_a_service_needs_of_it(tiny: Build, staleness: int) -> None:
    services = {"reward": {"seconds_per_sample": "2 s", "concurrency": 16}}
    models = dict.fromkeys(ROLES[:3], "llama-3.2-1b")
    found = plan(tiny(models=models, services=services, staleness=staleness, workload=SHORT)).plan
    assert found.prediction.iteration_seconds >= 64 / 16 * 2
    assert found.proof.status == "optimal"


def test_a_busy_service_is_what_a_runner_up_may_lose_in(tiny: Build) -> None:
    services = {"reward": {"seconds_per_sample": "20 s", "concurrency": 16}}
    models = dict.fromkeys(ROLES[:3], "llama-3.2-1b")
    found = plan(tiny(models=models, services=services, staleness=4, workload=SHORT)).plan
    assert found.prediction.iteration_seconds == pytest.approx(64 / 16 * 20)
    assert {each.loses_in for each in found.runners_up} == {"reward.scores"}


def test_the_baseline_bounds_no_dataflow_that_it_did_not_solve(tiny: Build) -> None:
    scenario = tiny(staleness=2, workload=LONG)
    best, baseline = (plan(scenario, settings=each).plan for each in (DEFAULT, BASELINE))
    assert baseline.proof.bound <= best.proof.objective <= baseline.proof.objective


def test_the_baseline_calls_nothing_infeasible(tiny: Build) -> None:
    pcie = {"cluster": "1x8xl40s-48gb", "models": dict.fromkeys(ROLES, "llama-3.1-8b")}
    best, baseline = (plan(tiny(**pcie), settings=each).plan.proof.objective for each in (DEFAULT, BASELINE))
    assert best < baseline
    with pytest.raises(SearchStoppedError, match="says nothing about other plans"):
        plan(tiny(**pcie, within=f"{(best + baseline) / 2} s"), settings=BASELINE)


def test_a_time_limit_is_kept_to_the_microsecond(tiny: Build) -> None:
    best = plan(tiny()).plan.proof.objective
    assert plan(tiny(within=f"{best:.6f} s")).plan.proof.objective == best
    with pytest.raises(InfeasibleError, match="within"):
        plan(tiny(within=f"{best - 4e-7:.7f} s"))


def test_as_many_runners_up_come_as_are_asked_for(tiny: Build) -> None:
    few, every = (plan(tiny(), settings=SearchSettings(runners_up=count)).plan for count in (0, 99))
    assert few.runners_up == ()
    assert len({each.placement for each in every.runners_up}) == len(every.runners_up) == 14
    assert every.placement not in {each.placement for each in every.runners_up}


@pytest.mark.parametrize("solver", ["dp", "exhaustive", "hybridflow"])
def test_solvers_that_cannot_be_stopped_take_no_time_limit(solver: Any) -> None:
    with pytest.raises(SpecError, match="only the solver cpsat"):
        SearchSettings(solver=solver, time_limit_s=1.0)


@pytest.mark.parametrize("iterations", [0, -1])
def test_no_iteration_is_no_simulation(tiny: Build, iterations: int) -> None:
    best = plan(tiny()).plan
    with pytest.raises(SpecError, match=f"iterations must be at least 1, not {iterations}"):
        simulate(best, iterations=iterations)
