"""Node pools with a slow link between them: its load is part of every solver's period."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from planner.search.problem import PoolChoice, Problem
from planner.search.schedules.evaluation import evaluate
from planner.search.schedules.periods import fixed_plan
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from planner.search.solvers.dp import solve_by_subsets
from planner.search.solvers.exhaustive import solve_exhaustively
from tests.planner.search.by_hand import every_plan
from tests.planner.search.cyclic import least_period
from tests.planner.search.random_problems import random_problem


def linked(seeds: range) -> Iterator[Problem]:
    """Random problems whose plans need two node pools, with long crossings and weights that may come late."""
    for seed in seeds:
        problem = random_problem(seed, time_model="period")
        if len(problem.capacities) > 1 and all(_apart(problem).options.values()):
            draw = random.Random(seed)
            most, later = draw.choice((60, 120, 240)), draw.choice((1, 3, 6))
            waits = tuple(
                replace(wait, crossing_us=draw.randint(0, most), lag=wait.lag + later * (wait.lag > 0))
                for wait in problem.waits
            )
            yield replace(_apart(problem), waits=waits, budget=None)


def _apart(problem: Problem) -> Problem:
    """The first role has options on the one node pool alone, the last one on the other."""
    here, there = problem.capacities
    first, last = problem.roles[0], problem.roles[-1]
    options = {
        role: {
            slot: table
            for slot, table in tables.items()
            if (role, slot.node_pool) not in ((first, there), (last, here))
        }
        for role, tables in problem.options.items()
    }
    return replace(problem, options=options, together=())


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
    """Also where the link decides, and where another plan would be the best if nothing loaded it."""
    seen: Counter[str] = Counter()
    for problem in islice(linked(range(200)), 28):
        plans = list(every_plan(problem))
        least_us = min((plan.objective_us for plan in plans), default=None)
        answers = (
            solve_exhaustively(problem),
            solve_by_subsets(problem),
            solve_with_cpsat(problem, Limits()),
        )
        assert {found and (found.solution.objective_us, found.bound_us) for found in answers} == {
            least_us and (least_us, least_us)
        }
        others = {found and tuple(each.objective_us for each in found.runners_up) for found in answers}
        assert len(others) == 1
        best = [plan for plan in plans if plan.objective_us == least_us]
        seen["link"] += any(max(loads_us(problem, plan.pools).values()) == least_us for plan in best)
        seen["none"] += not plans
    assert seen["link"] >= 3, seen
    assert seen["none"] <= 10, seen
