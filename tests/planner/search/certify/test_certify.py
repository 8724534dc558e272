"""The certificate of plans that are right; `test_broken_plans` has those that are not."""

import pytest

from planner.domain.plan import Plan, Solver
from planner.search import certify, violations
from tests.planner.search.certify.damages import in_proof
from tests.planner.search.certify.sound_plans import sound
from tests.planner.search.draws import drawn


def test_a_feasible_plan_may_have_a_lower_bound() -> None:
    case, plan = sound("ppo")
    assert not violations(in_proof(plan, status="feasible", bound=0.0), case.graph, case.costs)


def test_a_feasible_plan_may_have_a_higher_bound_of_its_throughput() -> None:
    case, plan = sound("tokens")
    bound = 2 * plan.proof.objective
    assert not violations(in_proof(plan, status="feasible", bound=bound), case.graph, case.costs)


@pytest.mark.parametrize("solver", ["cpsat", "dp", "exhaustive", "hybridflow"])
def test_plans_of_every_solver_are_certified_after_a_round_trip_too(solver: Solver) -> None:
    certified = 0
    for problem in map(drawn, range(100, 120)):
        if plan := problem.plan(solver):
            read = Plan.model_validate_json(plan.model_dump_json())
            certify(read, problem.case.graph, problem.case.costs)
            certified += 1
    assert certified >= 5
