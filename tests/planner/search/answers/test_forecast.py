"""What decides a solution's seconds."""

from collections.abc import Callable

import pytest

from planner.domain.scenario import TimeModel
from planner.search.answers.forecast import Forecast
from planner.search.problem import prepare
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from tests.planner.search.toys import Case

Build = Callable[..., Case]
SEEDS = range(4)
MICROSECONDS = 2e-5
"""By which seven calls may be rounded up."""


def forecast(synthetic: Build, seed: int, time_model: TimeModel) -> Forecast:
    """Of the best plan."""
    scenario, graph, costs = synthetic(seed, pools=[(1, 6)], bytes_scale=0.3, time_model=time_model).arguments
    problem = prepare(scenario, graph, costs)
    answer = solve_with_cpsat(problem, Limits())
    assert answer is not None
    return Forecast(solution=answer.solution, problem=problem, scenario=scenario, graph=graph, costs=costs)


@pytest.mark.parametrize("time_model", ["stage", "period"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_deciding_calls_add_up_to_the_objective(
    synthetic: Build, seed: int, time_model: TimeModel
) -> None:
    """Of a circle of several iterations an iteration's part."""
    found = forecast(synthetic, seed, time_model)
    parts = {name: term.seconds for name, term in found.deciding_terms.items()}
    assert sum(parts.values()) == pytest.approx(found.solution.objective_us * 1e-6, abs=MICROSECONDS)
    assert all(0 < part <= found.seconds[name] for name, part in parts.items())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_call_has_the_seconds_of_its_roles_option(synthetic: Build, seed: int) -> None:
    found = forecast(synthetic, seed, "stage")
    assert list(found.calls) == [call.name for call in found.graph.model_calls]
    for call in found.graph.model_calls:
        expected = found.costs.call(call, found.strategies[call.role], found.node_pools[call.role])
        assert found.calls[call.name].seconds == expected.seconds


def test_pools_run_all_their_calls_and_only_those_ahead_are_said_to_be(synthetic: Build) -> None:
    for seed in SEEDS:
        found = forecast(synthetic, seed, "period")
        for number, pool in enumerate(found.pools):
            own = {call.name for role in pool.roles for call in found.graph.calls_of(role)}
            assert (pool.name, set(pool.order)) == (f"pool-{number}", own)
            assert all(ahead > 0 for ahead in pool.ahead.values())
            assert set(pool.ahead) <= own
