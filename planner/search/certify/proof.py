"""The objective is what the plan costs, the bound lies on its right side, and no runner-up is better."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from planner.costs.bands import ties
from planner.domain.dataflow import DataflowGraph
from planner.domain.placement import Placement
from planner.domain.plan import Plan, RunnerUp
from planner.search.certify.pools import broken_demands
from planner.search.certify.violation import RELATIVE_TOLERANCE, Violation
from planner.units import HOUR_S, MICRO_DOLLAR, MICROSECOND, MILLION

_BY_SECONDS = ("seconds", "tokens_per_second")
"""Objectives that seconds alone decide."""


def proof_violations(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """What is wrong with the proof of a plan whose predictions are sound."""
    yield from _question(plan)
    yield from _objective(plan, graph)
    yield from _bound(plan)
    yield from _ranking(plan)
    for other in plan.runners_up:
        yield from _another_placement(plan, other, graph)
        yield from _worse(plan, other, graph)


def _question(plan: Plan) -> Iterator[Violation]:
    """What was proven is what the scenario asks for."""
    proof, scenario = plan.proof, plan.scenario
    if proof.minimise != scenario.minimise:
        message = f"{proof.minimise} was minimised, {scenario.minimise} is asked for"
        yield Violation(rule="minimise", message=message)
    if proof.time_model != scenario.time_model:
        message = f"the {proof.time_model} decided, not the {scenario.time_model}"
        yield Violation(rule="time model", message=message)


def _objective(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """The objective follows from the predicted seconds, each call and each crossing rounded up."""
    seconds, slack = _seconds(plan), _slack(graph)
    one, other = _figure(plan, seconds), _figure(plan, seconds + slack)
    low, high = min(one, other), max(one, other)
    rounding = RELATIVE_TOLERANCE * high + _price_rounding(plan, seconds)
    if not low - rounding <= plan.proof.objective <= high + rounding:
        message = f"{plan.proof.objective!r} is not the {plan.scenario.minimise} of the plan, {one!r}"
        yield Violation(rule="objective", message=message)
    within = plan.scenario.within
    if within is not None and seconds > within * (1 + RELATIVE_TOLERANCE):
        yield Violation(rule="within", message=f"takes {seconds:.6g} s, permitted are {within:g} s")


def _seconds(plan: Plan) -> float:
    """Seconds of an iteration under the time model that decides."""
    prediction = plan.prediction
    return prediction.stage_cost_seconds if plan.proof.time_model == "stage" else prediction.iteration_seconds


def _slack(graph: DataflowGraph) -> float:
    """What rounding up to microseconds may add: for each call, each wait, and the period itself."""
    return (len(graph.calls) + len(graph.dependences) + 1) * MICROSECOND


def _figure(plan: Plan, seconds: float) -> float:
    """The plan's objective if an iteration took so long."""
    tokens = plan.scenario.workload.total_tokens
    if plan.scenario.minimise == "tokens_per_second":
        return tokens / seconds
    if plan.scenario.minimise == "devices":
        return float(plan.used_devices)
    if plan.scenario.minimise == "dollars":
        return _hourly(plan) * seconds / HOUR_S / tokens * MILLION
    return seconds


def _hourly(plan: Plan) -> float:
    """Dollars an hour of all pools' devices."""
    cluster = plan.scenario.cluster
    return sum(pool.devices * (cluster.node_pool(pool.node_pool).price or 0.0) for pool in plan.pools)


def _price_rounding(plan: Plan, seconds: float) -> float:
    """What prices in whole micro-dollars an hour may be off."""
    if plan.scenario.minimise != "dollars":
        return 0.0
    devices = plan.used_devices
    return devices * MICRO_DOLLAR * seconds / HOUR_S / plan.scenario.workload.total_tokens * MILLION


def _bound(plan: Plan) -> Iterator[Violation]:
    proof = plan.proof
    rounding = RELATIVE_TOLERANCE * abs(proof.objective)
    if proof.loss(proof.bound) > rounding:
        message = f"{proof.bound!r} promises what the objective {proof.objective!r} refutes"
        yield Violation(rule="bound", message=message)
    if proof.status == "optimal" and proof.loss(proof.bound) < -rounding:
        yield Violation(rule="bound", message=f"optimal, but only {proof.bound!r} is proven")
    if proof.status == "feasible" and proof.loss(proof.bound) >= 0:
        yield Violation(rule="bound", message="reaches the objective, so the plan is optimal, not feasible")


def _ranking(plan: Plan) -> Iterator[Violation]:
    """Each placement once, the best first."""
    proof, others = plan.proof, plan.runners_up
    for sets, count in Counter(_sets(other.placement) for other in others).items():
        if count > 1:
            message = f"{sorted(map(sorted, sets))} is there {count} times"
            yield Violation(rule="runners-up", message=message)
    rounding = RELATIVE_TOLERANCE * abs(proof.objective)
    for one, other in pairwise(others):
        if proof.loss(one.objective) > proof.loss(other.objective) + rounding:
            message = f"{one.objective!r} stands before {other.objective!r}, which is better"
            yield Violation(rule="runners-up", message=message)


def _sets(placement: Placement) -> frozenset[frozenset[str]]:
    return frozenset(map(frozenset, placement))


def _another_placement(plan: Plan, other: RunnerUp, graph: DataflowGraph) -> Iterator[Violation]:
    """Other sets of the same roles, on devices that are there, as the scenario demands them."""
    scenario, words = plan.scenario, f"{other.placement} on {other.devices} devices"
    there, most = scenario.cluster.devices, scenario.maximum_devices
    placed = sorted(role for roles in other.placement for role in roles)
    if placed != sorted(graph.roles) or not all(other.placement):
        message = f"{other.placement} is no placement of {', '.join(graph.roles)}"
        yield Violation(rule="runners-up", message=message)
    if _sets(other.placement) == _sets(plan.placement) or len(other.devices) != len(other.placement):
        yield Violation(rule="runners-up", message=f"{words} is not another placement")
    if min(other.devices, default=1) < 1 or sum(other.devices) > there:
        yield Violation(rule="runners-up", message=f"{words}: the cluster has {there}")
    if most is not None and max(other.devices, default=0) > most:
        yield Violation(rule="runners-up", message=f"{words}: a pool may take {most}")
    for _, broken in broken_demands(scenario, other.placement):
        yield Violation(rule="runners-up", message=f"{other.placement}: {broken}")


def _worse(plan: Plan, other: RunnerUp, graph: DataflowGraph) -> Iterator[Violation]:
    """No better than the plan, by a call of the dataflow, and a tie only where it is near."""
    proof, minimise = plan.proof, plan.scenario.minimise
    if other.loses_in not in graph.stage_of and (other.loses_in or other.loses_seconds):
        message = f"{other.placement} loses in {other.loses_in!r}, which is no call of {graph.name}"
        yield Violation(rule="runners-up", message=message)
    if other.loses_seconds < 0:
        message = f"{other.placement} loses {other.loses_seconds!r} s in {other.loses_in}, less than nothing"
        yield Violation(rule="runners-up", message=message)
    rounding = RELATIVE_TOLERANCE * abs(proof.objective)
    if proof.status == "optimal" and proof.loss(other.objective) < -rounding:
        message = f"{other.placement} costs {other.objective!r}, less than the plan"
        yield Violation(rule="runners-up", message=message)
    if other.ties and minimise in _BY_SECONDS:
        tokens = plan.scenario.workload.total_tokens
        best, its = (
            (proof.objective, other.objective)
            if minimise == "seconds"
            else (tokens / proof.objective, tokens / other.objective)
        )
        if not ties(best, its, other.difference_band + rounding):
            message = (
                f"{other.placement} is {abs(its - best):.6g} s away, too far from the plan to tie with it"
            )
            yield Violation(rule="ties", message=message)
