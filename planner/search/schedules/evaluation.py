"""What a complete plan costs exactly, in the problem's time model."""

from collections.abc import Sequence

from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.schedules.periods import best_schedule, fixed_plan, link_load_us


def evaluate(problem: Problem, pools: Sequence[PoolChoice]) -> Solution:
    """The plan of these pools with its objective, pools in order of their first role."""
    solution = evaluate_within(problem, pools, None)
    assert solution is not None, "without a limit every plan has its time"
    return solution


def evaluate_within(problem: Problem, pools: Sequence[PoolChoice], at_most_us: int | None) -> Solution | None:
    """The same, or none if it costs more than that."""
    ordered = tuple(sorted(pools, key=lambda pool: problem.roles.index(pool.roles[0])))
    if problem.time_model == "stage":
        objective_us = stage_cost_us(problem, ordered)
        is_within = at_most_us is None or objective_us <= at_most_us
        return Solution(pools=ordered, objective_us=objective_us) if is_within else None
    durations, homes, waits = fixed_plan(problem, ordered)
    schedule = best_schedule(
        durations,
        homes,
        waits,
        interleaves=problem.interleaves,
        at_least_us=max(1, link_load_us(problem, ordered)),
        at_most_us=at_most_us,
    )
    return None if schedule is None else Solution(pools=ordered, objective_us=schedule.period_us)


def stage_cost_us(problem: Problem, pools: Sequence[PoolChoice]) -> int:
    """The sum over stages of the maximum over pools of the sum over calls (HybridFlow, algorithm 1, lines 25
    to 34); the calls without devices together count as one more pool."""
    durations, homes, _ = fixed_plan(problem, pools)
    busy: dict[tuple[int, int | None], int] = {}
    for call, us, home in zip(problem.calls, durations, homes, strict=True):
        busy[call.stage, home] = busy.get((call.stage, home), 0) + us
    return sum(
        max((us for (at, _), us in busy.items() if at == stage), default=0) for stage in range(problem.stages)
    )
