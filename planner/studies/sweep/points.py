"""A sweep: each point of a grid planned anew, or a given plan costed again at each of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.domain.choice import Choice, choice_of
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.sweep import Row, RowStatus
from planner.errors import BrokenPlanError, InfeasibleError, SearchStoppedError, SpecError
from planner.studies.planning import SearchSettings, plan
from planner.studies.scoring import costed
from planner.studies.sweep.figures import figures_of
from planner.studies.sweep.scaling import scaled, scaling_key
from planner.studies.sweep.sharing import Shared

_TOO_SMALL = frozenset({"memory", "host memory", "within"})
"""Rules that a plan breaks where it makes sense but does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One scenario of a grid."""

    settings: Mapping[str, Any]
    """What makes it differ from the others, key by key."""
    scenario: Scenario


def sweep(
    points: Sequence[Point],
    *,
    given: Choice | None = None,
    settings: SearchSettings | None = None,
    simulates: bool = False,
) -> Iterator[Row]:
    """One row for each point, in their order.

    What does not fit, or makes no sense, is a row with its reason and ends nothing.

    Parameters
    ----------
    given
        Pools and strategies that are kept at all points, which else have the best plan each.
    settings
        How each best plan is searched for; never for runners-up or fixes, of which rows say nothing.
    simulates
        Whether the plans' iterations are played, generation event by event.
    """
    key = scaling_key([(point.settings, point.scenario.cluster.devices) for point in points])
    sweeper = Sweeper(given=given, settings=settings, simulates=simulates)
    return scaled((sweeper.row(number, point) for number, point in enumerate(points)), key)


class Sweeper:
    """Makes the row of one point after another. No row depends on the others, only how soon it is there."""

    def __init__(
        self,
        *,
        given: Choice | None = None,
        settings: SearchSettings | None = None,
        simulates: bool = False,
    ) -> None:
        self._given, self._simulates = given, simulates
        self._settings = replace(settings or SearchSettings(), runners_up=0, fixes=False)
        self._shared = Shared()
        self._last: Plan | None = None

    def row(self, number: int, point: Point) -> Row:
        """The row of one point by itself, without what only several rows say."""
        own = dict(point.settings)
        try:
            found = self._plan(self._shared.scenario(point.scenario))
            figures = figures_of(found, simulates=self._simulates)
        except (InfeasibleError, SearchStoppedError, SpecError) as error:
            return failed_row(number, own, error)
        status: RowStatus = "given" if self._given else found.proof.status
        return Row(point=number, settings=own, status=status, figures=figures)

    def _plan(self, scenario: Scenario) -> Plan:
        if self._given is not None:
            return costed(self._given, scenario)
        self._last = plan(scenario, settings=self._settings, known=self._known(scenario)).plan
        return self._last

    def _known(self, scenario: Scenario) -> Plan | None:
        """What the last point's plan comes to in this scenario, where it makes sense and fits."""
        if self._last is None:
            return None
        try:
            return costed(choice_of(self._last), scenario)
        except (InfeasibleError, SpecError):
            return None


def failed_row(
    number: int, settings: Mapping[str, Any], error: InfeasibleError | SearchStoppedError | SpecError
) -> Row:
    """The row of a point that has no plan."""
    return Row(point=number, settings=dict(settings), status=_status_of(error), reason=_reason_of(error))


def _status_of(error: InfeasibleError | SearchStoppedError | SpecError) -> RowStatus:
    """The status of a row that has no plan."""
    if isinstance(error, BrokenPlanError):
        return "infeasible" if {rule for rule, _ in error.violations} <= _TOO_SMALL else "refused"
    if isinstance(error, SearchStoppedError):
        return "stopped"
    return "infeasible" if isinstance(error, InfeasibleError) else "refused"


def _reason_of(error: InfeasibleError | SearchStoppedError | SpecError) -> str:
    """Why a row has no plan, in one line."""
    if isinstance(error, BrokenPlanError):
        return "; ".join(message for _, message in error.violations)
    words = error.reason if isinstance(error, InfeasibleError) else str(error)
    return "; ".join(words.splitlines())
