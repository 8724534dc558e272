"""What a demand costs: the scenario solved with and without it, and where the seconds go."""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.domain.plan import Plan, Proof
from planner.domain.profile import Profile
from planner.domain.scenario import Scenario
from planner.studies.planning import SearchSettings, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class CallChange:
    """Seconds of one call in two plans; none where a plan has no such call."""

    name: str
    before_s: float | None
    after_s: float | None

    @property
    def growth_s(self) -> float:
        """By how much the call takes longer; a call that is not there takes 0 s."""
        return (self.after_s or 0.0) - (self.before_s or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the second of two plans loses against the first; a gain is a negative price."""

    before: Plan
    after: Plan
    amount: float
    """In the unit of the first plan's objective; positive where the second plan is worse."""
    relative: float
    """The amount over the first plan's objective."""
    calls: tuple[CallChange, ...]
    """The calls whose seconds differ, those that grow most first."""
    is_proven: bool
    """Whether the price is exact; no search behind it was stopped early."""


def explain(
    scenario: Scenario,
    changed: Scenario,
    *,
    settings: SearchSettings | None = None,
    profiles: Sequence[Profile] = (),
) -> Price:
    """The price of a changed demand: both scenarios solved, the difference measured in the first's objective.

    Raises
    ------
    InfeasibleError
        No plan meets the changed demand (or the first), with what is short.
    SearchStoppedError
        The time was up before any plan of one of them was found.
    """
    before = plan(scenario, settings=settings, profiles=profiles).plan
    return price(before, plan(changed, settings=settings, profiles=profiles).plan)


def price(before: Plan, after: Plan, *, is_given: bool = False) -> Price:
    """What one plan loses against another, in the objective and the time model of the first.

    Parameters
    ----------
    is_given
        Whether the second plan was given by hand, so that it needs no proof.
    """
    one, other = _figures(before, after)
    amount = one - other if before.proof.minimise == "tokens_per_second" else other - one
    return Price(
        before=before,
        after=after,
        amount=amount,
        relative=amount / one,
        calls=call_changes(before, after),
        is_proven=all(each.proof.status == "optimal" for each in ([before] if is_given else [before, after])),
    )


def call_changes(before: Plan, after: Plan) -> tuple[CallChange, ...]:
    """The calls whose seconds differ, those that grow most first."""
    one, other = before.prediction.calls, after.prediction.calls
    changes = [
        CallChange(
            name=name,
            before_s=one[name].seconds if name in one else None,
            after_s=other[name].seconds if name in other else None,
        )
        for name in dict.fromkeys((*one, *other))
    ]
    return tuple(sorted((each for each in changes if each.growth_s), key=lambda each: -each.growth_s))


def _figures(before: Plan, after: Plan) -> tuple[float, float]:
    """Both objectives; where they are of different kinds, both figures in the first's unit and time model.

    Objectives count calls in whole microseconds, other figures do not.
    """
    one, other = before.proof, after.proof
    if (one.minimise, one.time_model) == (other.minimise, other.time_model):
        return one.objective, other.objective
    return figure_of(before, one), figure_of(after, one)


def figure_of(plan: Plan, like: Proof) -> float:
    """What a plan amounts to in the unit and under the time model of a proof, its own or another plan's."""
    seconds = seconds_of(plan, like)
    if like.minimise == "tokens_per_second":
        return plan.scenario.workload.total_tokens / seconds
    if like.minimise == "devices":
        return float(plan.used_devices)
    if like.minimise == "dollars":
        dollars = plan.prediction.dollars_per_million_tokens
        assert dollars is not None, "a plan that minimises dollars has prices"
        return dollars * seconds / plan.prediction.iteration_seconds
    return seconds


def seconds_of(plan: Plan, like: Proof) -> float:
    """A plan's seconds per iteration under the time model of a proof."""
    of = plan.prediction
    return of.iteration_seconds if like.time_model == "period" else of.stage_cost_seconds
