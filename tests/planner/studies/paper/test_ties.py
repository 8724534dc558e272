"""Ties of two plans' stage costs."""

from planner.domain.plan import Plan
from planner.studies.paper.published import SPLIT
from planner.studies.paper.questions import best, paper_scenario, placed
from planner.studies.paper.ties import tie


def planned(*, apart: bool) -> Plan:
    scenario = paper_scenario("ppo", "7b", 16)
    plan = best(placed(scenario, SPLIT) if apart else scenario)
    assert plan is not None
    return plan


def test_plans_of_equal_cost_tie() -> None:
    one = planned(apart=False)
    assert tie(one, one)


def test_plans_further_apart_than_five_percent_do_not() -> None:
    one, other = planned(apart=False), planned(apart=True)
    assert other.prediction.stage_cost_seconds > 1.05 * one.prediction.stage_cost_seconds
    assert not tie(one, other)
