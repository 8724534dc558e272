"""Node pools with a slow link between them: its load is part of every solver's period."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.schedules.evaluation import evaluate
from planner.search.schedules.periods import fixed_plan
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from planner.search.solvers.dp import solve_by_subsets
from planner.search.solvers.exhaustive import solve_exhaustively
from tests.planner.search.by_hand import every_plan
from tests.planner.search.cyclic import least_period
from tests.planner.search.random_problems import random_problem


def linked(seeds: range) -> Iterator[Problem]:
    """Random problems on two node pools whose waits take long to cross, some longer than others."""
    for seed in seeds:
        problem = random_problem(seed, time_model="period")
        if len(problem.capacities) > 1 and all(problem.options.values()):
            waits = tuple(
                replace(wait, crossing_us=(seed * 7 + number * 13) % 60)
                for number, wait in enumerate(problem.waits)
            )
            yield replace(problem, waits=waits, budget=None)


def loads_us(problem: Problem, pools: tuple[PoolChoice, ...]) -> Counter[tuple[str, str]]:
    """By its definition: of each direction the sum over all waits that cross in it."""
    homes = {role: each.slot.node_pool for each in pools for role in each.roles}
    names = [None if call.role is None else homes[problem.roles[call.role]] for call in problem.calls]
    found: Counter[tuple[str, str]] = Counter()
    for wait in problem.waits:
        one, other = names[wait.source], names[wait.target]
        if one and other and one != other:
            found[one, other] += wait.crossing_us
    return found


def test_a_plan_takes_its_schedule_or_its_busiest_link_whichever_is_longer() -> None:
    seen: Counter[str] = Counter()
    for problem in linked(range(30)):
        split = (plan for plan in every_plan(problem) if len(plan.pools) > 1)
        for plan in islice(split, 0, 4000, 197):
            schedule_us = least_period(*fixed_plan(problem, plan.pools), interleaves=problem.interleaves)
            assert schedule_us is not None
            load_us = max(loads_us(problem, plan.pools).values(), default=0)
            assert evaluate(problem, plan.pools).objective_us == max(1, schedule_us, load_us)
            seen["link" if load_us > schedule_us else "schedule"] += 1
    assert min(seen["link"], seen["schedule"]) >= 5, seen


def test_all_exact_solvers_find_the_best_of_all_plans() -> None:
    """Also where the best plan would be another one if nothing loaded the link."""
    seen: Counter[str] = Counter()
    for problem in islice(linked(range(200)), 25):
        ranked = sorted(plan.objective_us for plan in every_plan(problem))
        best = {
            None if found is None else (found.solution.objective_us, found.bound_us)
            for found in (
                solve_exhaustively(problem),
                solve_by_subsets(problem),
                solve_with_cpsat(problem, Limits()),
            )
        }
        assert best == ({(ranked[0], ranked[0])} if ranked else {None})
        if ranked:
            seen["solved"] += 1
            seen["split"] += any(loads_us(problem, plan.pools) for plan in best_plans(problem, ranked[0]))
    assert seen["solved"] >= 10, seen
    assert seen["split"] >= 1, seen


def best_plans(problem: Problem, least_us: int) -> Iterator[Solution]:
    return (plan for plan in every_plan(problem) if plan.objective_us == least_us)
