"""From a solver's answer to a plan: names, orders of calls, predictions."""

from dataclasses import replace

from planner.costs import tokens_per_second
from planner.costs.bands import circle_band, difference_half_width, ties
from planner.costs.iteration import dollars_per_million_tokens
from planner.costs.uncertainty import banded_memory
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Pool, Prediction, Proof, RunnerUp, Solver
from planner.domain.scenario import Scenario
from planner.search.answers.forecast import Forecast
from planner.search.costs_protocol import Costs
from planner.search.problem import Answer, Problem, Solution
from planner.units import MICROSECOND


def assemble(
    answer: Answer,
    problem: Problem,
    scenario: Scenario,
    graph: DataflowGraph,
    costs: Costs,
    *,
    solver: Solver,
    given: tuple[Pool, ...] = (),
) -> Plan:
    """The plan that an answer stands for, in seconds; pools in order of their first role.

    Parameters
    ----------
    given
        The answer's pools with orders of their own, in the place of the best ones.
    """

    def forecast(solution: Solution) -> Forecast:
        return Forecast(solution=solution, problem=problem, scenario=scenario, graph=graph, costs=costs)

    best = replace(forecast(answer.solution), given=given)
    return Plan(
        scenario=scenario,
        pools=best.pools,
        strategies={role: best.strategies[role] for role in problem.roles},
        prediction=_prediction(best),
        proof=Proof(
            solver=solver,
            status=answer.status,
            time_model=problem.time_model,
            objective=_seconds(best.solution.objective_us),
            bound=_seconds(answer.bound_us),
        ),
        runners_up=tuple(_runner_up(forecast(other), best) for other in answer.runners_up),
        idle_devices=scenario.cluster.devices - sum(pool.devices for pool in best.pools),
    )


def _prediction(of: Forecast) -> Prediction:
    period = of.circle.period
    low, high = circle_band(of.circle, of.terms)
    return Prediction(
        calls=of.calls,
        memory={
            role: banded_memory(of.costs.memory(role, of.strategies[role], of.node_pools[role]))
            for role in of.problem.roles
        },
        iteration_seconds=period,
        iteration_low=low,
        iteration_high=high,
        stage_cost_seconds=of.stage_cost,
        tokens_per_second=tokens_per_second(of.scenario, period),
        dollars_per_million_tokens=dollars_per_million_tokens(of.scenario, of.pools, period),
    )


def _runner_up(other: Forecast, best: Forecast) -> RunnerUp:
    loses_in, loses_seconds = _loss(other, best)
    band = difference_half_width(other.deciding_terms, best.deciding_terms)
    best_us, other_us = best.solution.objective_us, other.solution.objective_us
    return RunnerUp(
        placement=other.solution.placement,
        devices=tuple(pool.devices for pool in other.pools),
        objective=_seconds(other_us),
        loses_in=loses_in,
        loses_seconds=loses_seconds,
        difference_band=band,
        ties=ties(_seconds(best_us), _seconds(other_us), band),
    )


def _loss(other: Forecast, best: Forecast) -> tuple[str, float]:
    """Of the calls that decide the other plan's seconds, the one that grows most.

    Where none takes longer than in the best plan, the one that adds most to the seconds and did not there.
    """
    growth = {name: other.seconds[name] - best.seconds[name] for name in other.parts}
    if max(growth.values()) <= 0:
        growth = {name: seconds - best.parts.get(name, 0.0) for name, seconds in other.parts.items()}
    return max(sorted(growth.items()), key=lambda each: each[1])


def _seconds(us: int) -> float:
    """The float nearest to so many microseconds."""
    return round(us * MICROSECOND, 6)
