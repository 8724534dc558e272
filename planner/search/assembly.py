"""From a solver's answer to a plan: names, orders of calls, predictions."""

from collections.abc import Iterator, Mapping, Sequence

from planner.costs import stage_cost, tokens_per_second
from planner.costs.bands import Term, difference_half_width, slowest_terms, sum_band, ties
from planner.costs.uncertainty import banded_call, banded_memory, term_of
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph, ModelCall
from planner.domain.plan import (
    CallPrediction,
    Plan,
    Pool,
    Prediction,
    Proof,
    RoleMemory,
    RoleStrategy,
    RunnerUp,
    Solver,
)
from planner.domain.scenario import Scenario
from planner.search.problem import Answer, PoolChoice, Problem, Solution
from planner.search.strategies import Costs
from planner.units import MICROSECOND


def assemble(
    answer: Answer,
    problem: Problem,
    scenario: Scenario,
    graph: DataflowGraph,
    costs: Costs,
    *,
    solver: Solver,
) -> Plan:
    """The plan that an answer stands for; pools in order of their first role, calls in program order."""
    best = answer.solution
    strategies = best.strategies(problem)
    calls = predicted_calls(best, problem, scenario, graph, costs)
    iteration_s = stage_cost(graph, best.placement, {name: call.seconds for name, call in calls.items()})
    terms = _terms(best, problem, scenario, graph, calls)
    low, high = sum_band(terms)
    return Plan(
        scenario=scenario,
        pools=tuple(_pool(index, choice, graph) for index, choice in enumerate(best.pools)),
        strategies={role: strategies[role] for role in problem.roles},
        prediction=Prediction(
            calls={call.name: calls[call.name] for call in graph.model_calls},
            memory=_memory(best, problem, scenario, costs),
            iteration_seconds=iteration_s,
            iteration_low=low,
            iteration_high=high,
            stage_cost_seconds=iteration_s,
            tokens_per_second=tokens_per_second(scenario, iteration_s),
        ),
        proof=Proof(
            solver=solver,
            status=answer.status,
            objective=_seconds(best.objective_us),
            bound=_seconds(answer.bound_us),
        ),
        runners_up=tuple(
            _runner_up(other, best, calls, terms, (problem, scenario, graph, costs))
            for other in answer.runners_up
        ),
        idle_devices=scenario.cluster.devices - sum(pool.slot.devices for pool in best.pools),
    )


def predicted_calls(
    solution: Solution, problem: Problem, scenario: Scenario, graph: DataflowGraph, costs: Costs
) -> dict[str, CallPrediction]:
    """The prediction of each model call under a solution's strategies, with its band."""
    return {
        call.name: banded_call(call, costs.call(call, *home), *home, scenario)
        for call, home in _homes(solution, problem, scenario, graph)
    }


def _homes(
    solution: Solution, problem: Problem, scenario: Scenario, graph: DataflowGraph
) -> Iterator[tuple[ModelCall, tuple[RoleStrategy, NodePool]]]:
    strategies = solution.strategies(problem)
    for pool in solution.pools:
        node_pool = scenario.cluster.node_pool(pool.slot.node_pool)
        for role in pool.roles:
            for call in graph.calls_of(role):
                yield call, (strategies[role], node_pool)


def _memory(solution: Solution, problem: Problem, scenario: Scenario, costs: Costs) -> dict[str, RoleMemory]:
    strategies = solution.strategies(problem)
    node_pools = {
        role: scenario.cluster.node_pool(pool.slot.node_pool)
        for pool in solution.pools
        for role in pool.roles
    }
    return {
        role: banded_memory(costs.memory(role, strategies[role], node_pools[role])) for role in problem.roles
    }


def _terms(
    solution: Solution,
    problem: Problem,
    scenario: Scenario,
    graph: DataflowGraph,
    calls: Mapping[str, CallPrediction],
) -> list[Term]:
    """What the solution's stage cost is the sum of."""
    terms = {
        call.name: term_of(call, calls[call.name], *home, scenario)
        for call, home in _homes(solution, problem, scenario, graph)
    }
    return slowest_terms(graph, solution.placement, terms)


def _pool(index: int, choice: PoolChoice, graph: DataflowGraph) -> Pool:
    return Pool(
        name=f"pool-{index}",
        node_pool=choice.slot.node_pool,
        devices=choice.slot.devices,
        roles=choice.roles,
        order=tuple(call.name for call in graph.model_calls if call.role in choice.roles),
    )


def _runner_up(
    other: Solution,
    best: Solution,
    best_calls: Mapping[str, CallPrediction],
    best_terms: Sequence[Term],
    asked: tuple[Problem, Scenario, DataflowGraph, Costs],
) -> RunnerUp:
    problem, scenario, graph, _ = asked
    calls = predicted_calls(other, *asked)
    growth = {name: calls[name].seconds - best_calls[name].seconds for name in calls}
    loses_in = max(sorted(growth), key=lambda name: growth[name])
    band = difference_half_width(_terms(other, problem, scenario, graph, calls), best_terms)
    return RunnerUp(
        placement=other.placement,
        devices=tuple(pool.slot.devices for pool in other.pools),
        objective=_seconds(other.objective_us),
        loses_in=loses_in,
        loses_seconds=growth[loses_in],
        difference_band=band,
        ties=ties(_seconds(best.objective_us), _seconds(other.objective_us), band),
    )


def _seconds(us: int) -> float:
    """The float nearest to so many microseconds."""
    return round(us * MICROSECOND, 6)
