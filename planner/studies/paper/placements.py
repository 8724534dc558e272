"""Figure 12: the best placement by model size and devices, in the stage cost and in the steady state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.domain.placement import Placement, placements
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.studies.paper.published import PLACEMENTS, TRAINING_PIPELINE, Size
from planner.studies.paper.questions import best, in_time_model, paper_scenario, placed, with_layouts
from planner.studies.paper.ties import tie

OTHER_PIPELINES: dict[tuple[Size, int], tuple[int, ...]] = {("34b", 48): (6,), ("34b", 96): (4, 6)}
"""Stages where half or all of the devices are 6 nodes, which 4 stages of 8 devices don't divide; 6 is the
next number that divides both them and the 48 layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One size on one number of devices, under one time model."""

    size: Size
    devices: int
    published: Placement
    shares: tuple[int, ...]
    """Devices of its pools."""
    plan: Plan
    """The best of all."""
    published_plan: Plan | None
    """The best in the published placement with the published devices; none where it does not fit."""
    rank: int | None
    """One more than the placements better than the published one on its devices; none if it does not fit, or
    where nobody asked."""

    @property
    def distance(self) -> float:
        """By how much the published one is slower than the best, as a fraction."""
        if self.published_plan is None:
            return float("inf")
        return self.published_plan.proof.objective / self.plan.proof.objective - 1

    @property
    def is_best(self) -> bool:
        return self.plan.placement == self.published

    @property
    def ties(self) -> bool:
        """Whether it is another one that is best, by less than the band of the difference."""
        found = self.published_plan
        return found is not None and not self.is_best and tie(self.plan, found)


def cases() -> Iterator[Case]:
    """The paper's eleven, by stage cost, in whatever layouts are best."""
    for size, devices in PLACEMENTS:
        yield case([paper_scenario("ppo", size, devices)], size, devices)


def cases_in_layouts() -> Iterator[Case]:
    """The same with actor and critic trained in the layouts of the paper's actors."""
    for size, devices in PLACEMENTS:
        pipelines = OTHER_PIPELINES.get((size, devices), (TRAINING_PIPELINE[size],))
        scenario = paper_scenario("ppo", size, devices)
        yield case([with_layouts(scenario, pipeline) for pipeline in pipelines], size, devices)


def steady_cases() -> Iterator[Case]:
    """The same by the period of the steady state."""
    for size, devices in PLACEMENTS:
        scenario = in_time_model(paper_scenario("ppo", size, devices), "period")
        yield case([scenario], size, devices, is_ranked=False)


def case(scenarios: Sequence[Scenario], size: Size, devices: int, *, is_ranked: bool = True) -> Case:
    """The published placement held against the best of the scenarios' plans."""
    placement, shares = PLACEMENTS[size, devices]
    plan = _best_of(scenarios)
    assert plan is not None, "the paper ran it"
    published = _best_of([placed(scenario, placement, shares) for scenario in scenarios])
    return Case(
        size=size,
        devices=devices,
        published=placement,
        shares=shares,
        plan=plan,
        published_plan=published,
        rank=_rank(scenarios, placement, plan, published) if is_ranked else None,
    )


def _best_of(scenarios: Sequence[Scenario]) -> Plan | None:
    plans = [found for scenario in scenarios if (found := best(scenario)) is not None]
    return min(plans, key=lambda plan: plan.proof.objective, default=None)


def _rank(
    scenarios: Sequence[Scenario], placement: Placement, plan: Plan, published: Plan | None
) -> int | None:
    """One for the best placement; other placements count with their best devices."""
    if plan.placement == placement:
        return 1
    if published is None:
        return None
    limit = published.proof.objective
    known = {other.placement: other.objective for other in plan.runners_up}
    if len(scenarios) > 1 or max(known.values(), default=0.0) < limit:
        rivals = [rival for rival in placements(tuple(plan.strategies)) if rival != plan.placement]
        known = {rival: _objective(_best_of([placed(each, rival) for each in scenarios])) for rival in rivals}
    return 2 + sum(seconds < limit for rival, seconds in known.items() if rival != placement)


def _objective(plan: Plan | None) -> float:
    return float("inf") if plan is None else plan.proof.objective
