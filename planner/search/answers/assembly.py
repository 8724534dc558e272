"""From a solver's answer to a plan: names, orders of calls, predictions."""

from dataclasses import replace

from planner.costs import tokens_per_second
from planner.costs.bands import circle_band, difference_half_width, ties
from planner.costs.iteration import dollars_per_million_tokens
from planner.costs.uncertainty import banded_memory
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Hand, Plan, Pool, Prediction, RunnerUp, Solver
from planner.search.answers.forecast import Forecast
from planner.search.answers.losses import loss_of
from planner.search.costs_protocol import Costs
from planner.search.objectives import Verdict
from planner.search.problem import Solution


def assemble(
    verdict: Verdict,
    graph: DataflowGraph,
    costs: Costs,
    *,
    solver: Solver | Hand,
    given: tuple[Pool, ...] = (),
) -> Plan:
    """The plan that a verdict is about, in seconds; pools in order of their first role.

    Parameters
    ----------
    given
        The answer's pools with orders of their own, in the place of the best ones.
    """
    scenario, problem, answer = verdict.scenario, verdict.problem, verdict.answer

    def forecast(solution: Solution) -> Forecast:
        return Forecast(solution=solution, problem=problem, scenario=scenario, graph=graph, costs=costs)

    best = replace(forecast(answer.solution), given=given)
    others = sorted(answer.runners_up, key=verdict.amount)
    return Plan(
        scenario=scenario,
        pools=best.pools,
        strategies={role: best.strategies[role] for role in problem.roles},
        prediction=_prediction(best),
        proof=verdict.proof(solver),
        runners_up=tuple(_runner_up(forecast(other), best, verdict) for other in others),
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


def _runner_up(other: Forecast, best: Forecast, verdict: Verdict) -> RunnerUp:
    loss = loss_of(other, best)
    band = difference_half_width(other.deciding_terms.values(), best.deciding_terms.values())
    return RunnerUp(
        placement=other.solution.placement,
        devices=tuple(pool.devices for pool in other.pools),
        objective=verdict.figure(verdict.amount(other.solution)),
        loses_in=loss.call,
        loses_seconds=loss.seconds,
        loses_kind=loss.kind,
        difference_band=band,
        ties=ties(best.solution.seconds, other.solution.seconds, band),
    )
