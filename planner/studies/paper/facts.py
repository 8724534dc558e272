"""Published facts, each with our figure beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.domain.placement import format_placement
from planner.domain.plan import Plan
from planner.studies.paper.generation import Bar, Choice
from planner.studies.paper.minima import Fit
from planner.studies.paper.placements import Case
from planner.studies.paper.published import ALGORITHM_NAMES, FIGURES, SHORTER

ABOUT = 0.1
"""How near to a published share of a time ours must be to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One published fact with our figure beside it."""

    source: str
    published: str
    ours: str
    holds: bool


def fit_fact(fit: Fit) -> Fact:
    """Whether an algorithm fits where the paper ran it, and not where it could not have."""
    name = ALGORITHM_NAMES[fit.algorithm]
    return Fact(
        source=f"figure {FIGURES[fit.algorithm]}: {name} of {fit.size} on {fit.devices} devices",
        published="runs" if fit.is_published else "not shown; 18 bytes per parameter pass the memory",
        ours=_fitting(fit),
        holds=fit.holds,
    )


def _fitting(fit: Fit) -> str:
    if fit.plan is None:
        return "does not fit"
    return "fits" if fit.is_published else f"fits with {format_placement(fit.plan.placement)}"


def placement_fact(case: Case) -> Fact:
    """The best placement by stage cost; a tie is one of two that the costs can't tell apart."""
    return Fact(
        source=f"figure 12: PPO of {case.size} on {case.devices} devices",
        published=f"{format_placement(case.published)} {_devices(case.shares)}",
        ours=f"{pools(case.plan)}{standing(case)}",
        holds=case.is_best or case.ties,
    )


def pools(plan: Plan) -> str:
    """Placement and devices."""
    return f"{format_placement(plan.placement)} {_devices([pool.devices for pool in plan.pools])}"


def standing(case: Case) -> str:
    """Where the published placement comes in, unless it is the best."""
    if case.is_best:
        return ""
    if case.published_plan is None:
        return "; the published one does not fit"
    word = ", a tie" if case.ties else ""
    return f"; the published one has rank {case.rank}, {100 * case.distance:.1f} % slower{word}"


def _devices(shares: Sequence[int]) -> str:
    return " + ".join(map(str, shares))


def choice_fact(choice: Choice) -> Fact:
    """The best t_g of a size, or one that the costs can't tell from it."""
    behind = f"; {choice.published} is {_percent(choice.distance)} slower"
    word = ", a tie" if choice.ties else ""
    return Fact(
        source=f"figure 14: t_g of {choice.size}, on {choice.devices} devices",
        published=f"{choice.published}",
        ours=f"{choice.tensor}" + ("" if choice.tensor == choice.published else behind + word),
        holds=choice.tensor == choice.published or choice.ties,
    )


def generation_facts(bars: Sequence[Bar]) -> Iterator[Fact]:
    """The best t_g of 7B on 16 devices, and by how much it is shorter than t_g = 8."""
    first, second = sorted(bars, key=lambda bar: bar.total_seconds)[:2]
    at = {bar.tensor: bar for bar in bars}
    shorter = 1 - at[2].seconds / at[8].seconds
    slower = second.total_seconds / first.total_seconds - 1
    yield Fact(
        source="figure 15: best t_g of 7b on 16 devices",
        published="2",
        ours=f"{first.tensor}; {second.tensor} is {_percent(slower)} slower",
        holds=first.tensor == 2,
    )
    yield Fact(
        source="figure 15: generation at t_g = 2 against t_g = 8",
        published=f"{_percent(SHORTER)} shorter",
        ours=f"{_percent(shorter)} shorter",
        holds=abs(shorter - SHORTER) <= ABOUT,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
