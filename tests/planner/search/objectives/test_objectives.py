"""Fewest devices, least dollars, most tokens and time limits against plain enumeration."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.algorithms import trace
from planner.domain.placement import placements
from planner.domain.plan import Solver
from planner.errors import InfeasibleError, SpecError
from planner.search import solve
from planner.search.arrays import Integers
from planner.search.objectives import Verdict, best_by_objective
from planner.search.objectives.budgets import Prices, device_prices
from planner.search.objectives.fastest import Fastest
from planner.search.options.dominance import undominated
from planner.search.problem import Problem, prepare
from planner.search.problem.allocation import Slot, enumerate_allocations
from tests.planner.search.by_hand import fitting_rows

Build = Callable[..., Any]
CLUSTERS = ([(1, 4)], [(2, 2)], [(1, 2), (1, 2)], [(1, 3), (1, 2)])
SCALES = (0.7, 1.2, 1.8)
PRICES = (2.0, 0.75)
SOLVERS: tuple[Solver, ...] = ("cpsat", "dp", "exhaustive")


def three_roles(roles: Any, prompts: Any) -> None:
    batch = roles.actor.generate(prompts)
    batch = batch | roles.critic.values(batch) | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="gae")
    roles.critic.update(batch, loss="value")
    roles.actor.update(batch, loss="ppo")


THREE_ROLES = trace(three_roles, name="three roles")


def priced(case: Any, prices: Sequence[float | None] = PRICES, **changes: Any) -> Any:
    """The same case with prices, judged by its stage cost, which is easy to enumerate."""
    cluster = case.scenario.cluster
    node_pools = tuple(
        pool.model_copy(update={"price": price})
        for pool, price in zip(cluster.node_pools, prices, strict=False)
    )
    cluster = cluster.model_copy(update={"node_pools": node_pools})
    changes = {"time_model": "stage", "cluster": cluster} | changes
    return replace(case, scenario=case.scenario.model_copy(update=changes))


def random_case(synthetic: Build, seed: int) -> Any:
    scale = SCALES[seed % len(SCALES)]
    return synthetic(seed, graph=THREE_ROLES, pools=CLUSTERS[seed % len(CLUSTERS)], bytes_scale=scale)


def verdict_of(case: Any, *, late: bool = False, **changes: Any) -> Verdict | None:
    """What `planner.search.objectives` says; none where no plan is short enough or none fits."""
    case = priced(case, **changes)
    scenario = case.scenario
    fastest = Fastest(solver="cpsat", cluster=scenario.cluster, deadline=0.0 if late else None)
    try:
        return best_by_objective(prepare(*case.arguments), scenario, fastest)
    except InfeasibleError:
        return None


def fastest_by_slots(case: Any) -> list[tuple[tuple[Slot, ...], int]]:
    """All allocations of all placements with the least stage cost of each that has a plan."""
    problem = prepare(*priced(case).arguments)
    found: list[tuple[tuple[Slot, ...], int]] = []
    for placement in placements(problem.roles):
        if not all(map(problem.may_share, placement)):
            continue
        choices = [problem.slots(roles) for roles in placement]
        for slots in enumerate_allocations(choices, problem.capacities):
            pools = [pool_us(problem, *each) for each in zip(placement, slots, strict=True)]
            if all(map(len, pools)):
                found.append((slots, int(slowest(pools).sum(axis=1).min())))
    return found


def pool_us(problem: Problem, roles: tuple[str, ...], slot: Slot) -> Integers:
    """Microseconds of each stage for every combination of options that fits; shape (combinations, stages)."""
    rows = fitting_rows(problem, roles, slot).T
    us: Integers = sum(problem.stage_us(role, slot)[row] for role, row in zip(roles, rows, strict=True))
    return us[undominated(us)]


def slowest(pools: Sequence[Integers]) -> Integers:
    """Microseconds of each stage for every combination of the pools'."""
    us, *others = pools
    for other in others:
        us = np.maximum(us[:, None], other[None]).reshape(-1, us.shape[1])
    return us


def devices_of(slots: Sequence[Slot]) -> int:
    return sum(slot.devices for slot in slots)


def dollars(case: Any, slots: Sequence[Slot], us: int) -> float:
    """Dollars per million tokens."""
    names = [pool.name for pool in case.scenario.cluster.node_pools]
    rate = sum(slot.devices * PRICES[names.index(slot.node_pool)] for slot in slots)
    return rate * us * 1e-6 / 3600 / case.scenario.workload.total_tokens * 1e6


def limits(found: Sequence[tuple[Any, int]]) -> list[float | None]:
    """No time limit, an impossible one, and some between the fastest and the slowest."""
    times = sorted({us for _, us in found})
    between = [times[len(times) * part // 5] * 1e-6 for part in range(5)] if times else []
    return [None, *between, times[0] * 0.99e-6 if times else 1.0]


def short(found: Sequence[tuple[Any, int]], within: float | None) -> list[tuple[Any, int]]:
    return [(slots, us) for slots, us in found if within is None or us <= round(within * 1e6)]


@pytest.mark.parametrize("seed", range(12))
def test_the_fewest_devices_are_those_of_enumeration_and_the_plan_is_the_fastest_on_them(
    synthetic: Build, seed: int
) -> None:
    case = random_case(synthetic, seed)
    found = fastest_by_slots(case)
    fewest = []
    for within in limits(found):
        expected = min(((devices_of(slots), us) for slots, us in short(found, within)), default=None)
        verdict = verdict_of(case, minimise="devices", within=within)
        if expected is None or verdict is None:
            assert expected is verdict is None
            continue
        assert (verdict.objective, verdict.bound) == (expected[0], expected[0])
        assert devices_of([pool.slot for pool in verdict.answer.solution.pools]) == expected[0]
        assert verdict.answer.solution.objective_us == expected[1]
        fewest.append((within, expected[0]))
    assert found == [] or len(fewest) == 6
    bounded = [count for within, count in fewest if within is not None]
    assert bounded == sorted(bounded, reverse=True)


@pytest.mark.parametrize("seed", range(12))
def test_the_least_dollars_are_those_of_enumeration(synthetic: Build, seed: int) -> None:
    case = random_case(synthetic, seed)
    found = fastest_by_slots(case)
    for within in limits(found):
        amounts = [dollars(case, slots, us) for slots, us in short(found, within)]
        verdict = verdict_of(case, minimise="dollars", within=within)
        if not amounts or verdict is None:
            assert amounts == []
            assert verdict is None
            continue
        assert verdict.bound == verdict.objective
        assert verdict.figure(verdict.objective) == pytest.approx(min(amounts), rel=1e-12)
        assert all(verdict.amount(each) >= verdict.objective for each in verdict.answer.runners_up)


@pytest.mark.parametrize("seed", range(4))
def test_within_is_a_limit_and_not_a_wish(synthetic: Build, seed: int) -> None:
    case = random_case(synthetic, seed)
    free = verdict_of(case)
    assert free is not None
    seconds = free.figure(free.objective)
    same = verdict_of(case, within=seconds)
    assert same is not None
    assert same.answer.solution == free.answer.solution
    too_short = priced(case, within=seconds * 0.999)
    fastest = Fastest(solver="cpsat", cluster=too_short.scenario.cluster)
    with pytest.raises(InfeasibleError, match=f"the fastest takes {seconds:.6g} s"):
        best_by_objective(prepare(*too_short.arguments), too_short.scenario, fastest)


@pytest.mark.parametrize("seed", range(4))
def test_tokens_per_second_are_the_fastest_plans(synthetic: Build, seed: int) -> None:
    case = random_case(synthetic, seed)
    fastest, most = verdict_of(case), verdict_of(case, minimise="tokens_per_second")
    assert fastest is not None
    assert most is not None
    assert most.answer == fastest.answer
    tokens = case.scenario.workload.total_tokens
    assert most.figure(most.objective) == tokens / fastest.figure(fastest.objective)
    assert most.figure(most.objective - 1) > most.figure(most.objective)


@pytest.mark.parametrize("seed", range(8))
def test_a_cheaper_equal_pool_never_raises_the_dollars(synthetic: Build, seed: int) -> None:
    pools = [(1, 2), (1, 2)]
    one = synthetic(seed, graph=THREE_ROLES, pools=pools[:1], bytes_scale=0.8)
    two = synthetic(seed, graph=THREE_ROLES, pools=pools, bytes_scale=0.8)
    before = verdict_of(one, prices=(2.0,), minimise="dollars")
    after = verdict_of(two, prices=(2.0, 1.5), minimise="dollars")
    assert before is not None
    assert after is not None
    assert after.objective <= before.objective


@pytest.mark.parametrize("minimise", ["devices", "dollars"])
def test_every_exact_solver_gives_the_same_objective_by_the_period(synthetic: Build, minimise: str) -> None:
    for seed in (2, 3, 5, 6):
        case = priced(random_case(synthetic, seed), minimise=minimise, time_model="period")
        free = solve(*priced(case, time_model="period", minimise="seconds").arguments).plan
        limited = priced(case, time_model="period", minimise=minimise, within=1.3 * free.proof.objective)
        proofs = [solve(*limited.arguments, solver=solver).plan.proof for solver in SOLVERS]
        assert len({(proof.status, proof.objective, proof.bound) for proof in proofs}) == 1
        assert proofs[0].status == "optimal"


def test_a_plan_states_its_objective_in_its_own_unit(synthetic: Build) -> None:
    case = random_case(synthetic, 2)
    plans = {
        minimise: solve(*priced(case, minimise=minimise).arguments).plan
        for minimise in ("seconds", "tokens_per_second", "dollars", "devices")
    }
    for minimise, plan in plans.items():
        assert (plan.proof.minimise, plan.proof.status) == (minimise, "optimal")
        assert plan.proof.bound == plan.proof.objective
    least = min(plan.used_devices for plan in plans.values())
    assert plans["devices"].proof.objective == least
    shortest = min(plan.prediction.stage_cost_seconds for plan in plans.values())
    assert plans["seconds"].proof.objective == pytest.approx(shortest, rel=1e-5)
    rates = {
        minimise: plan.prediction.dollars_per_million_tokens
        * plan.prediction.stage_cost_seconds
        / plan.prediction.iteration_seconds
        for minimise, plan in plans.items()
    }
    assert plans["dollars"].proof.objective == pytest.approx(rates["dollars"], rel=1e-5)
    assert plans["dollars"].proof.objective <= min(rates.values()) * (1 + 1e-5)


def test_dollars_need_prices(synthetic: Build) -> None:
    case = synthetic(2, graph=THREE_ROLES, pools=[(1, 2), (1, 2)])
    with pytest.raises(SpecError, match=r"small: cluster.node_pools.pool1.price: to minimise dollars"):
        verdict_of(case, prices=(1.0, None), minimise="dollars")


@pytest.mark.parametrize("minimise", ["devices", "dollars"])
def test_stopped_at_once_the_bound_is_still_true(synthetic: Build, minimise: str) -> None:
    for seed in range(6):
        case = random_case(synthetic, seed)
        proven, stopped = (verdict_of(case, minimise=minimise, late=late) for late in (False, True))
        assert proven is not None
        assert stopped is not None
        assert stopped.bound <= proven.objective <= stopped.objective


def test_under_a_limit_every_plan_costs_at_most_that_and_none_is_lost(synthetic: Build) -> None:
    case = synthetic(3, graph=THREE_ROLES, pools=[(1, 3), (1, 2)])
    problem = prepare(*priced(case).arguments)
    prices = Prices(problem=problem, of={"pool0": 20, "pool1": 7})
    totals = prices.reachable().tolist()
    sums = {20 * one + 7 * other for one in range(4) for other in range(3)}
    assert set(totals) <= sums - {0}
    assert {
        sum(prices.of[slot.node_pool] * slot.devices for slot in slots) for slots, _ in fastest_by_slots(case)
    } <= set(totals)
    limited = prices.under(41)
    assert dict(limited.capacities) == {"pool0": 2, "pool1": 2}
    assert limited.budget is not None
    assert prices.under(prices.of["pool0"] * 3 + prices.of["pool1"] * 2).budget is None
    assert device_prices(problem).under(3).budget is not None


def test_work_is_a_floor_of_price_times_time(synthetic: Build) -> None:
    plans = 0
    for seed in range(12):
        case = random_case(synthetic, seed)
        problem = prepare(*priced(case).arguments)
        prices = device_prices(problem)
        if all(problem.options.values()):
            floor = prices.work(problem)
            found = fastest_by_slots(case)
            assert all(floor <= devices_of(slots) * us for slots, us in found)
            plans += len(found)
    assert plans > 50
