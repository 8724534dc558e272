"""All exact solvers on random problems in both time models, and what must hold of each answer."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.domain.plan import Solver
from planner.search.bounds.features import Features
from planner.search.bounds.floors import NEVER, Floors
from planner.search.problem import Answer, Problem, Solution
from planner.search.schedules.evaluation import evaluate
from planner.search.solvers import answer
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from planner.search.solvers.dp import solve_by_subsets
from planner.search.solvers.exhaustive import solve_exhaustively
from tests.planner.search.by_hand import assert_sound
from tests.planner.search.random_problems import PPO, random_problem
from tests.planner.search.toys import PPO as GRAPH
from tests.planner.search.toys import small_scenario

ANY_CLUSTER = small_scenario(GRAPH).cluster
EXACT: tuple[Solver, ...] = ("exhaustive", "dp", "cpsat")


def answers(problem: Problem) -> list[Answer | None]:
    """Of each exact solver; a role without options has none to give."""
    if not all(problem.options.values()):
        return [None]
    return [solve_exhaustively(problem), solve_by_subsets(problem), solve_with_cpsat(problem, Limits())]


def figures(found: Answer | None) -> tuple[int, ...] | None:
    if found is None:
        return None
    return (found.solution.objective_us, *(each.objective_us for each in found.runners_up))


def check(problem: Problem, solution: Solution) -> None:
    """That a plan keeps the rules, and costs what it is said to."""
    assert_sound(problem, solution.pools)
    assert evaluate(problem, solution.pools) == solution


def least_us(features: Features, solution: Solution) -> int:
    """What the features say that a plan costs at least."""
    taken = [
        sum(features.us(role, pool.slot)[row] for role, row in zip(pool.roles, pool.rows, strict=True))
        for pool in solution.pools
    ]
    return int(features.bound_us(np.max(taken, axis=0)))


def compare(seeds: range) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        problem = random_problem(seed)
        found = answers(problem)
        assert len({figures(each) for each in found}) == 1, seed
        best = found[-1]
        if best is None:
            seen["infeasible"] += 1
            continue
        for each in found:
            assert each is not None
            assert each.status == "optimal", seed
            assert each.bound_us == each.solution.objective_us
            for solution in (each.solution, *each.runners_up):
                check(problem, solution)
        seen[problem.time_model] += 1
        seen["split"] += len(best.solution.pools) > 1
        features = Features.of(problem)
        bound_us = least_us(features, best.solution)
        assert Floors.of(problem).root_us <= bound_us <= best.solution.objective_us
        seen["bound is not enough"] += bound_us < best.solution.objective_us
        seen["budget"] += problem.budget is not None
        seen["two node pools"] += len(problem.capacities) > 1
    return seen


def test_all_exact_solvers_agree() -> None:
    seen = compare(range(120))
    assert min(seen.values()) >= 5, seen
    assert len(seen) == 7


@pytest.mark.slow
def test_all_exact_solvers_agree_on_many_more() -> None:
    seen = compare(range(120, 1500))
    assert min(seen.values()) >= 50, seen


def feasible(seeds: range, **settings: Any) -> Iterator[tuple[Problem, Answer]]:
    """Problems that have plans, with the best ones."""
    for seed in seeds:
        problem = random_problem(seed, **settings)
        if all(problem.options.values()):
            best = solve_with_cpsat(problem, Limits())
            if best is not None:
                yield problem, best


def test_any_seed_and_number_of_workers_gives_the_same_answer() -> None:
    solved = 0
    for problem, first in feasible(range(25)):
        assert solve_with_cpsat(problem, Limits(workers=2, seed=3)) == first
        assert solve_with_cpsat(problem, Limits()) == first
        solved += 1
    assert solved >= 10


def test_stopped_at_once_the_bound_is_true_and_the_plan_is_real() -> None:
    stopped = 0
    for problem, best in feasible(range(40)):
        found = solve_with_cpsat(problem, Limits(time_limit_s=0.0))
        assert found is not None
        check(problem, found.solution)
        assert found.bound_us <= best.solution.objective_us <= found.solution.objective_us
        stopped += found.status == "feasible"
    assert stopped >= 5


def test_a_plan_that_takes_longer_than_wanted_is_none() -> None:
    problem = random_problem(3, time_model="period")
    best = solve_with_cpsat(problem, Limits())
    assert best is not None
    limit_us = best.solution.objective_us
    assert figures(solve_with_cpsat(problem, Limits(), at_most_us=limit_us, runners_up=0)) == (limit_us,)
    assert solve_with_cpsat(problem, Limits(), at_most_us=limit_us - 1) is None


def test_budgets_bind_every_solver() -> None:
    bound = 0
    for seed in range(150):
        problem = random_problem(seed)
        if problem.budget is None or not all(problem.options.values()):
            continue
        free = solve_by_subsets(replace(problem, budget=None), runners_up=0)
        found = answers(problem)
        assert len({figures(each) for each in found}) == 1
        if found[0] is not None and free is not None:
            bound += found[0].solution.objective_us > free.solution.objective_us
    assert bound >= 5


def test_under_period_more_staleness_is_never_slower_and_interleaving_never_hurts() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        problem = random_problem(seed, time_model="period")
        if not all(problem.options.values()):
            continue
        later = tuple(
            replace(wait, lag=wait.lag + 1)
            if wait.lag and problem.calls[wait.source].name == "receive"
            else wait
            for wait in problem.waits
        )
        free = solve_with_cpsat(replace(problem, interleaves=True), Limits(), runners_up=0)
        bound = solve_with_cpsat(replace(problem, interleaves=False), Limits(), runners_up=0)
        stale = solve_with_cpsat(replace(problem, interleaves=True, waits=later), Limits(), runners_up=0)
        assert (free is None) == (bound is None) == (stale is None)
        if free is not None and bound is not None and stale is not None:
            assert stale.solution.objective_us <= free.solution.objective_us <= bound.solution.objective_us
            seen["staleness helps"] += stale.solution.objective_us < free.solution.objective_us
            seen["interleaving helps"] += free.solution.objective_us < bound.solution.objective_us
    assert min(seen["staleness helps"], seen["interleaving helps"]) >= 2, seen


def named_bounds(problem: Problem) -> list[list[set[str]]]:
    """Which calls each bound adds up, link by link."""
    features = Features.of(problem)
    calls = {
        role: [call.name for call in problem.calls if call.role == number]
        for number, role in enumerate(problem.roles)
    }
    links = [
        {
            name
            for role in calls
            for name, is_in in zip(calls[role], features.of_calls[role][:, at], strict=True)
            if is_in
        }
        for at in range(features.count)
    ]
    return [[link for link, counts in zip(links, row, strict=True) if counts] for row in features.sums]


def test_the_period_of_ppo_is_bounded_by_the_load_and_by_generation_preparation_and_update() -> None:
    problem = next(
        problem
        for problem in (random_problem(seed, time_model="period") for seed in range(100))
        if problem.roles == PPO.roles and len(problem.capacities) == 1
    )
    load, chain = named_bounds(problem)
    assert load == [{name for name, role, _ in PPO.calls if role is not None}]
    assert sorted(map(sorted, chain)) == [["actor.update", "generate"], ["logprobs", "scores", "values"]]


def test_a_crossing_that_takes_long_keeps_roles_together() -> None:
    """Between node pools the waits of a circle take their time; in one node pool they take none."""
    split = 0
    for seed in range(40):
        problem = random_problem(seed, time_model="period")
        if len(problem.capacities) == 1 or not all(problem.options.values()):
            continue
        near, far = (
            solve_with_cpsat(_with_crossings(problem, crossing_us), Limits(), runners_up=0)
            for crossing_us in (0, 10_000)
        )
        if near is not None and far is not None:
            assert near.solution.objective_us <= far.solution.objective_us
            pools = {pool.slot.node_pool for pool in far.solution.pools}
            is_free = not {"generator", "examiner"}.isdisjoint(problem.roles)
            assert len(pools) == 1 or far.solution.objective_us > 1000 or is_free
            split += len({pool.slot.node_pool for pool in near.solution.pools}) > len(pools)
    assert split >= 2


def _with_crossings(problem: Problem, crossing_us: int) -> Problem:
    waits = tuple(replace(wait, crossing_us=crossing_us) for wait in problem.waits)
    return replace(problem, waits=waits)


def test_the_door_leads_to_every_solver_and_keeps_the_limit() -> None:
    problem = random_problem(3, time_model="stage")
    for solver in EXACT:
        found = answer(problem, solver=solver, cluster=ANY_CLUSTER, limits=Limits())
        assert found is not None
        limit_us = found.solution.objective_us
        assert (
            answer(problem, solver=solver, cluster=ANY_CLUSTER, limits=Limits(), at_most_us=limit_us - 1)
            is None
        )
    homeless = replace(problem, options={**problem.options, problem.roles[0]: {}})
    assert answer(homeless, solver="dp", cluster=ANY_CLUSTER, limits=Limits(), at_most_us=NEVER) is None
