"""The objective is what the plan costs, the bound lies on its right side, and no runner-up is better."""

from collections.abc import Iterator

from planner.costs.bands import ties
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan
from planner.search.certify.violation import Violation
from planner.units import MICROSECOND


def proof_violations(plan: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    """The objective is the stage cost, calls rounded up to microseconds; the bound does not exceed it."""
    proof, cost = plan.proof, plan.prediction.stage_cost_seconds
    slack = len(graph.model_calls) * MICROSECOND
    if not cost - slack / 100 <= proof.objective <= cost + slack:
        message = f"{proof.objective!r} is not the stage cost {cost!r} in whole microseconds"
        yield Violation(rule="objective", message=message)
    if proof.bound > proof.objective + MICROSECOND / 2:
        yield Violation(rule="bound", message=f"{proof.bound!r} exceeds the objective {proof.objective!r}")
    if proof.status == "optimal" and proof.bound < proof.objective - MICROSECOND / 2:
        yield Violation(rule="bound", message=f"optimal, but only {proof.bound!r} is proven")
    for other in plan.runners_up:
        if proof.status == "optimal" and other.objective < proof.objective - MICROSECOND / 2:
            message = f"{other.placement} costs {other.objective!r}, less than the plan"
            yield Violation(rule="runners-up", message=message)
        if other.ties and not ties(proof.objective, other.objective, other.difference_band):
            apart = abs(other.objective - proof.objective)
            message = f"{other.placement} is {apart:.6g} s away, too far from the plan to tie with it"
            yield Violation(rule="ties", message=message)
