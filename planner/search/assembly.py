"""From a solver's answer to a plan: names, orders of calls, predictions."""

from collections.abc import Mapping

from planner.costs import stage_cost, tokens_per_second
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import CallPrediction, Plan, Pool, Prediction, Proof, RunnerUp, Solver
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
    seconds = {name: call.seconds for name, call in calls.items()}
    iteration_s = stage_cost(graph, best.placement, seconds)
    memory = {
        role: costs.memory(role, strategies[role], scenario.cluster.node_pool(pool.slot.node_pool))
        for pool in best.pools
        for role in pool.roles
    }
    return Plan(
        scenario=scenario,
        pools=tuple(_pool(index, choice, graph) for index, choice in enumerate(best.pools)),
        strategies={role: strategies[role] for role in problem.roles},
        prediction=Prediction(
            calls={call.name: calls[call.name] for call in graph.model_calls},
            memory={role: memory[role] for role in problem.roles},
            iteration_seconds=iteration_s,
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
            _runner_up(other, predicted_calls(other, problem, scenario, graph, costs), calls)
            for other in answer.runners_up
        ),
        idle_devices=scenario.cluster.devices - sum(pool.slot.devices for pool in best.pools),
    )


def predicted_calls(
    solution: Solution, problem: Problem, scenario: Scenario, graph: DataflowGraph, costs: Costs
) -> dict[str, CallPrediction]:
    """The prediction of each model call under a solution's strategies."""
    strategies = solution.strategies(problem)
    return {
        call.name: costs.call(call, strategies[role], scenario.cluster.node_pool(pool.slot.node_pool))
        for pool in solution.pools
        for role in pool.roles
        for call in graph.calls_of(role)
    }


def _pool(index: int, choice: PoolChoice, graph: DataflowGraph) -> Pool:
    return Pool(
        name=f"pool-{index}",
        node_pool=choice.slot.node_pool,
        devices=choice.slot.devices,
        roles=choice.roles,
        order=tuple(call.name for call in graph.model_calls if call.role in choice.roles),
    )


def _runner_up(
    other: Solution, calls: Mapping[str, CallPrediction], best: Mapping[str, CallPrediction]
) -> RunnerUp:
    growth = {name: calls[name].seconds - best[name].seconds for name in calls}
    loses_in = max(sorted(growth), key=lambda name: growth[name])
    return RunnerUp(
        placement=other.placement,
        devices=tuple(pool.slot.devices for pool in other.pools),
        objective=_seconds(other.objective_us),
        loses_in=loses_in,
        loses_seconds=growth[loses_in],
    )


def _seconds(us: int) -> float:
    """The float nearest to so many microseconds."""
    return round(us * MICROSECOND, 6)
