"""Given plans that the search would not write: better than what it lists, or changed by hand."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from planner.costs import CostModel
from planner.domain.choice import Choice, ChosenPool
from planner.domain.dataflow import GENERATOR
from planner.domain.plan import Plan
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.scenario import Scenario
from planner.errors import BrokenPlanError, SpecError
from planner.search import certify
from planner.studies.checking import check_plan
from planner.studies.planning import SearchSettings, dataflow, plan
from planner.studies.scoring import costed, score

Build = Callable[..., Scenario]
ODD = {"prompts": 36, "prompt_tokens": 512, "response_tokens": 512, "mini_batches": 1}
"""Of 36 samples 9 are a quarter, and no power of two is."""


def choice_of(found: Plan, **micro_batches: int) -> Choice:
    """A plan's pools and strategies, with other micro-batches of some roles."""
    pools = tuple(ChosenPool(devices=pool.devices, roles=pool.roles) for pool in found.pools)
    changed = {
        role: found.strategies[role].model_copy(update={"micro_batch": size})
        for role, size in micro_batches.items()
    }
    return Choice(pools=pools, strategies=found.strategies | changed)


def is_certified(found: Plan) -> bool:
    graph = dataflow(found.scenario)
    certify(found, graph, CostModel(found.scenario, graph))
    return True


@pytest.mark.parametrize("minimise", ["seconds", "tokens_per_second"])
def test_a_plan_that_beats_the_proof_lies_outside_of_what_is_listed(tiny: Build, minimise: str) -> None:
    """Micro-batches of 9 sequences are not listed, and here they are better."""
    scenario = tiny(workload=ODD, minimise=minimise)
    best = plan(scenario).plan
    found = score(scenario, choice_of(best, critic=9))
    assert best.proof.status == "optimal"
    assert found.against.amount < 0
    assert found.is_outside
    assert found.plan.proof.status == "feasible"
    assert found.plan.proof.loss(found.plan.proof.bound) < 0
    assert is_certified(found.plan)


def test_a_plan_within_the_proof_is_not_outside(tiny: Build) -> None:
    scenario = tiny(workload=ODD)
    best = plan(scenario).plan
    found = score(scenario, choice_of(best, critic=2))
    assert found.against.amount > 0
    assert not found.is_outside
    assert (found.plan.proof.bound, found.plan.proof.status) == (best.proof.bound, "feasible")
    assert is_certified(found.plan)


def test_a_plan_better_than_one_that_is_not_proven_breaks_no_proof(tiny: Build) -> None:
    scenario = tiny(workload=ODD)
    best = plan(scenario).plan
    found = score(scenario, choice_of(best, critic=9), settings=SearchSettings(solver="hybridflow"))
    rival = found.against.before.proof
    assert (rival.status, found.is_outside) == ("feasible", False)
    assert rival.bound <= found.plan.proof.objective < rival.objective
    assert is_certified(found.plan)


@pytest.mark.parametrize("minimise", ["seconds", "tokens_per_second", "devices", "dollars"])
def test_a_choice_is_scored_by_every_objective(tiny: Build, minimise: str) -> None:
    scenario = tiny(minimise=minimise, cluster=priced(tiny), within="100 s")
    best = plan(scenario).plan
    found = score(scenario, choice_of(best))
    assert found.plan.proof == best.proof
    assert found.against.amount == 0
    assert is_certified(found.plan)
    assert is_certified(costed(choice_of(best), scenario))


def priced(tiny: Build) -> dict[str, Any]:
    cluster = tiny().cluster.model_dump(mode="json")
    return cluster | {"node_pools": [{**pool, "price": 2.0} for pool in cluster["node_pools"]]}


def test_runners_up_of_demands_are_those_of_the_demands(tiny: Build) -> None:
    """The free scenario's may break them."""
    found = score(tiny(apart=[["actor", "critic"]]))
    assert found.plan.runners_up
    assert is_certified(found.plan)


def test_orders_stand_in_all_pools_or_in_none(tiny: Build) -> None:
    found = plan(tiny(apart=[["actor", "critic"]])).plan
    first, *others = choice_of(found).pools
    ordered = first.model_copy(update={"order": found.pools[0].order})
    ahead = first.model_copy(update={"ahead": {found.pools[0].order[0]: 1}})
    for pool in (ordered, ahead):
        with pytest.raises(ValidationError, match="write orders in all pools, or in none"):
            Choice(pools=(pool, *others), strategies=found.strategies)


def test_each_broken_rule_has_its_fix(tiny: Build) -> None:
    choice = choice_of(plan(tiny()).plan)
    missing = {role: item for role, item in choice.strategies.items() if role != "reward"}
    with pytest.raises(BrokenPlanError, match="reward takes devices, but has no strategy") as caught:
        costed(choice.model_copy(update={"strategies": missing}), tiny())
    assert caught.value.fix == "give each role that takes devices a strategy, and no other one"


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_plan_that_was_found_is_sound(tiny: Build, staleness: int) -> None:
    workload = {"prompts": 64, "prompt_tokens": 256, "response_tokens": 4096, "mini_batches": 4}
    found = plan(tiny(staleness=staleness, workload=workload)).plan
    assert (GENERATOR in found.strategies) is bool(staleness)
    check_plan(found, where="plan.json")
    if staleness:
        never = found.scenario.model_copy(update={"staleness": 0})
        with pytest.raises(SpecError, match="staleness: 0, but a pool has a generator"):
            check_plan(found.model_copy(update={"scenario": never}), where="plan.json")


def test_a_plan_that_was_changed_is_refused_with_all_rules(tiny: Build) -> None:
    found = plan(tiny()).plan
    proof = found.proof.model_copy(update={"objective": 1.0})
    prediction = found.prediction.model_copy(update={"tokens_per_second": 1.0})
    changed = found.model_copy(update={"proof": proof, "prediction": prediction})
    with pytest.raises(SpecError, match=r"^plan\.json: ") as caught:
        check_plan(changed, where="plan.json")
    assert "  objective: 1.0" in str(caught.value)
    assert "  tokens per second: 1.0" in str(caught.value)


def profiled(tiny: Build) -> tuple[Plan, Profile]:
    """A plan made with a profile, in which the actor's update takes half as long again as modelled."""
    free = plan(tiny()).plan
    work, strategy = free.scenario.workload, free.strategies["actor"]
    measured = MeasuredCall(
        role="actor",
        model=free.scenario.model_of("actor").name,
        kind="train",
        method="update",
        strategy=strategy,
        samples=work.samples,
        prompt_tokens=work.prompt_tokens.mean,
        response_tokens=work.response_tokens.mean,
        seconds=1.5 * free.prediction.calls["actor.update"].seconds,
        repeats=3,
    )
    device = free.scenario.cluster.node_pools[0].device
    profile = Profile(device=device, processes=4, calls=(measured,), versions={}, date="2025-01-01")
    return plan(tiny(), profiles=[profile]).plan, profile


def test_of_a_measured_plan_all_but_the_measured_seconds_are_checked(tiny: Build) -> None:
    found, profile = profiled(tiny)
    calls = found.prediction.calls
    assert {call.origin for call in calls.values()} > {"modelled"}
    check_plan(found, where="plan.json")
    check_plan(found, where="plan.json", profiles=[profile])
    for name, rule in (("actor.update", "iteration"), ("actor.generate", "prediction")):
        slower = calls[name].model_copy(update={"seconds": 2 * calls[name].seconds})
        prediction = found.prediction.model_copy(update={"calls": calls | {name: slower}})
        with pytest.raises(SpecError, match=f"  {rule}: "):
            check_plan(found.model_copy(update={"prediction": prediction}), where="plan.json")


def test_a_profile_at_hand_holds_the_measured_seconds_as_well(tiny: Build) -> None:
    found, profile = profiled(tiny)
    (call,) = profile.calls
    other = profile.model_copy(update={"calls": (call.model_copy(update={"seconds": 2 * call.seconds}),)})
    with pytest.raises(SpecError, match=r"prediction: actor\.update"):
        check_plan(found, where="plan.json", profiles=[other])


def test_a_plan_without_measurements_needs_no_profile(tiny: Build) -> None:
    _, profile = profiled(tiny)
    check_plan(plan(tiny()).plan, where="plan.json", profiles=[profile])
