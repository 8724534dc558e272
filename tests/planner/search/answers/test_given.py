"""Plans whose pools and strategies are given."""

from collections.abc import Callable

import pytest

from planner.domain.plan import Plan, Pool
from planner.domain.scenario import TimeModel
from planner.search import solve, violations
from planner.search.answers.given import costed_plan, has_orders, orders_wait_in_circles
from tests.planner.search.toys import Case

Build = Callable[..., Case]
SEEDS = range(3)


def solved(synthetic: Build, seed: int, **changes: object) -> tuple[Case, Plan]:
    case = synthetic(seed, bytes_scale=0.3, **changes)
    return case, solve(*case.arguments).plan


def with_pools(plan: Plan, change: Callable[[Pool], Pool]) -> Plan:
    return plan.model_copy(update={"pools": tuple(map(change, plan.pools))})


def without_orders(pool: Pool) -> Pool:
    return pool.model_copy(update={"order": (), "ahead": {}})


def reversed_order(pool: Pool) -> Pool:
    return pool.model_copy(update={"order": pool.order[::-1], "ahead": {}})


@pytest.mark.parametrize("time_model", ["stage", "period"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_best_plan_is_costed_as_the_search_costs_it(
    synthetic: Build, seed: int, time_model: TimeModel
) -> None:
    """With its orders, and without them, as the best ones are found again."""
    case, plan = solved(synthetic, seed, time_model=time_model)
    for outline in (plan, with_pools(plan, without_orders)):
        found = costed_plan(outline, case.graph, case.costs)
        assert (found.pools, found.strategies, found.prediction) == (
            plan.pools,
            plan.strategies,
            plan.prediction,
        )
        assert found.proof.objective == plan.proof.objective
        assert (found.proof.bound, found.runners_up) == (0, ())
        assert not violations(found, case.graph, case.costs)


def test_a_plan_that_does_not_fit_is_costed_all_the_same(synthetic: Build) -> None:
    case, plan = solved(synthetic, 0)
    device = case.scenario.cluster.node_pools[0].device.model_copy(update={"memory": 2 * 10**9})
    small = plan.scenario.with_node_pools(lambda pool: pool.model_copy(update={"device": device}))
    found = costed_plan(plan.model_copy(update={"scenario": small}), case.graph, case.costs)
    assert found.proof.objective == plan.proof.objective
    assert {each.rule for each in violations(found, case.graph, case.costs)} == {"memory"}


def test_a_time_limit_is_no_reason_not_to_cost_a_plan(synthetic: Build) -> None:
    case, plan = solved(synthetic, 0)
    limited = plan.scenario.model_copy(update={"within": 0.001})
    found = costed_plan(plan.model_copy(update={"scenario": limited}), case.graph, case.costs)
    assert found.proof.objective == plan.proof.objective


def one_after_the_other(pool: Pool) -> Pool:
    """Nothing is ahead, and calls stand in program order."""
    return pool.model_copy(update={"ahead": {}})


@pytest.mark.parametrize("seed", SEEDS)
def test_given_orders_are_never_faster_than_the_best(synthetic: Build, seed: int) -> None:
    case, plan = solved(synthetic, seed, time_model="period", apart=(("actor", "critic"),))
    outline = with_pools(plan, one_after_the_other)
    assert not orders_wait_in_circles(outline, case.graph)
    found = costed_plan(outline, case.graph, case.costs)
    assert found.pools == outline.pools
    assert found.proof.objective >= plan.proof.objective


def test_orders_against_the_data_wait_in_circles(synthetic: Build) -> None:
    """The actor cannot learn from an iteration before it has generated it."""
    case, plan = solved(synthetic, 0)
    assert not orders_wait_in_circles(plan, case.graph)
    assert orders_wait_in_circles(with_pools(plan, reversed_order), case.graph)


def test_a_plan_has_orders_only_where_every_pool_has_one(synthetic: Build) -> None:
    _, plan = solved(synthetic, 1, apart=(("actor", "critic"),))
    first, *others = plan.pools
    assert others
    assert has_orders(plan)
    assert not has_orders(plan.model_copy(update={"pools": (without_orders(first), *others)}))
