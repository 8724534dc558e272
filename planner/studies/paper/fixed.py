"""Figure 12's bars: throughput in each placement that others fix, and in the best one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planner.costs import tokens_per_second
from planner.domain.plan import Plan
from planner.domain.scenario import FixedPlacement
from planner.studies.paper.placements import Case
from planner.studies.paper.published import Size
from planner.studies.paper.questions import best, paper_scenario
from planner.studies.placements import fixed_placement

PLACEMENTS: tuple[FixedPlacement, ...] = ("colocate", "split", "standalone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Tokens per second of one size on one number of devices."""

    size: Size
    devices: int
    best: float
    fixed: Mapping[FixedPlacement, float]
    """Those that fit."""


def fixed_bars(cases: list[Case]) -> Iterator[Bars]:
    """Each case's, by stage cost; strategies and device counts that a placement leaves open are the best."""
    for case in cases:
        scenario = paper_scenario("ppo", case.size, case.devices)
        plans = {placement: best(fixed_placement(scenario, placement)) for placement in PLACEMENTS}
        yield Bars(
            size=case.size,
            devices=case.devices,
            best=_throughput(case.plan),
            fixed={name: _throughput(plan) for name, plan in plans.items() if plan is not None},
        )


def _throughput(plan: Plan) -> float:
    return tokens_per_second(plan.scenario, plan.prediction.stage_cost_seconds)
