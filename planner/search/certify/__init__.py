"""Checks a plan from scratch: against its scenario, the dataflow graph and the costs. Knows no solver.

What needs sound pools is checked when they are, and what needs sound strategies after those:

1. `pools`: roles, names, devices, and what the scenario demands of placements; `numbers`: all are finite;
2. `strategies`: layouts, sizes, pins, and what the runtime at hand can do;
3. `memory`: bytes of devices and hosts in each phase;
4. `schedule`: orders of calls, seconds of calls and iterations, and all totals;
5. `proof`: objective, bound and runners-up.
"""

from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan
from planner.errors import PlannerError
from planner.search.certify.call_costs import CallCosts
from planner.search.certify.memory import memory_violations
from planner.search.certify.numbers import number_violations
from planner.search.certify.pools import pool_violations
from planner.search.certify.proof import proof_violations
from planner.search.certify.schedule import schedule_violations
from planner.search.certify.strategies import strategy_violations
from planner.search.certify.violation import Violation

__all__ = ["Violation", "certify", "violations"]


def certify(plan: Plan, graph: DataflowGraph, costs: CallCosts) -> None:
    """Refuse a plan that breaks any rule.

    Raises
    ------
    PlannerError
        With every violation, one per line.
    """
    found = violations(plan, graph, costs)
    if found:
        raise PlannerError("the plan is not valid:\n" + "\n".join(map(str, found)))


def violations(plan: Plan, graph: DataflowGraph, costs: CallCosts) -> list[Violation]:
    """Everything wrong with a plan; what needs sound pools and strategies is checked when they are."""
    return (
        [*pool_violations(plan, graph), *number_violations(plan)]
        or list(strategy_violations(plan, graph))
        or [
            *memory_violations(plan, graph, costs),
            *schedule_violations(plan, graph, costs),
            *proof_violations(plan, graph),
        ]
    )
