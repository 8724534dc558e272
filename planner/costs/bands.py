"""Error bands: 90 % intervals of predictions, from the residuals of calibrated rows.

Residuals have a part that all predictions of one kind share (a stack that is slower than its constants
say) and a part of their own. In a sum, shared parts of one kind add up and own parts add in quadrature
(JCGM 100:2008, section 5.2). In a difference, what both sides share cancels.
"""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from planner.costs.iteration import Circle
from planner.domain.dataflow import DataflowGraph
from planner.domain.fits import Residuals

WIDEST_TIE = 0.05
"""Plans further apart than this share never tie, however wide the bands."""

DEVIATIONS = 1.6449
"""Half the width of the 90 % interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Predicted seconds of one call, as a part of a sum."""

    seconds: float
    residuals: Residuals
    kind: Hashable
    """Terms of one kind share the shared part of their residuals."""
    identity: Hashable
    """Terms of one identity are the same call in the same strategy: nothing of them differs."""


def band_of(predicted: npt.ArrayLike, residuals: Residuals) -> tuple[npt.NDArray[np.float64], ...]:
    """(low, high) of each prediction; both sides include the prediction itself."""
    values = np.asarray(predicted, dtype=np.float64)
    return values * math.exp(min(residuals.low, 0.0)), values * math.exp(max(residuals.high, 0.0))


def widened(residuals: Residuals, half_width: float) -> Residuals:
    """The residuals with another, independent source of error that all predictions share.

    Parameters
    ----------
    half_width
        Of its 90 % interval, as a logarithm.
    """
    return residuals.model_copy(
        update={
            "low": -math.hypot(min(residuals.low, 0.0), half_width),
            "high": math.hypot(max(residuals.high, 0.0), half_width),
            "shared": math.hypot(residuals.shared, half_width / DEVIATIONS),
        }
    )


def sum_band(terms: Collection[Term]) -> tuple[float, float]:
    """(low, high) of the sum of the terms."""
    total = sum(term.seconds for term in terms)
    below = [1 - math.exp(min(term.residuals.low, 0.0)) for term in terms]
    above = [math.exp(max(term.residuals.high, 0.0)) - 1 for term in terms]
    return max(0.0, total - _sum_width(terms, below)), total + _sum_width(terms, above)


def _sum_width(terms: Collection[Term], relative: Sequence[float]) -> float:
    """90 % half-width of a sum, of the terms' relative half-widths to one side."""
    shared: dict[Hashable, float] = {}
    own = 0.0
    for term, width in zip(terms, relative, strict=True):
        share = _shared_share(term.residuals)
        shared[term.kind] = shared.get(term.kind, 0.0) + term.seconds * width * math.sqrt(share)
        own += (term.seconds * width) ** 2 * (1 - share)
    return math.sqrt(own + sum(part**2 for part in shared.values()))


def difference_half_width(one: Collection[Term], other: Collection[Term]) -> float:
    """90 % half-width of the difference of two sums, what they share left out.

    Calls that are the same on both sides cancel. Own parts of the others add in quadrature; a shared part
    counts with the difference of its kind's seconds.
    """
    both = {term.identity for term in one} & {term.identity for term in other}
    differing = [(1, term) for term in one] + [(-1, term) for term in other]
    shared: dict[Hashable, float] = {}
    own = 0.0
    for sign, term in differing:
        if term.identity not in both:
            share, width = _shared_share(term.residuals), term.seconds * _half_width(term.residuals)
            shared[term.kind] = shared.get(term.kind, 0.0) + sign * width * math.sqrt(share)
            own += width**2 * (1 - share)
    return math.sqrt(own + sum(part**2 for part in shared.values()))


def ties(best: float, other: float, half_width: float) -> bool:
    """Whether the difference of two plans' seconds lies inside its band, and within 5 % of the best."""
    return abs(other - best) <= min(half_width, WIDEST_TIE * best)


def _half_width(residuals: Residuals) -> float:
    return (max(residuals.high, 0.0) - min(residuals.low, 0.0)) / 2


def _shared_share(residuals: Residuals) -> float:
    """The shared part's share of the variance; half where a record does not say."""
    whole = residuals.shared**2 + residuals.own**2
    return residuals.shared**2 / whole if whole else 0.5


def slowest_terms(
    graph: DataflowGraph, pools: Sequence[tuple[str, ...]], terms: Mapping[str, Term]
) -> dict[str, Term]:
    """The terms that make up the stage cost, by call: of each stage, those of the pool that takes longest.

    Parameters
    ----------
    pools
        Roles of each pool.
    terms
        Of each model call, by its name.
    """
    found: dict[str, Term] = {}
    for stage in graph.stages:
        by_pool = [[call.name for call in stage if call.role in pool] for pool in pools]
        slowest = max(by_pool, key=lambda names: sum(terms[name].seconds for name in names))
        found |= {name: terms[name] for name in slowest}
    return found


def circle_terms(circle: Circle, terms: Mapping[str, Term]) -> dict[str, Term]:
    """The terms that make up the period: calls of the circle that decides it, an iteration's part of each."""
    return {
        name: replace(
            terms[name], seconds=terms[name].seconds / circle.lag, identity=(terms[name].identity, circle.lag)
        )
        for name in circle.calls
        if name in terms
    }


def circle_band(circle: Circle, terms: Mapping[str, Term]) -> tuple[float, float]:
    """(low, high) of the period; services and crossings take the seconds that they are said to."""
    parts = circle_terms(circle, terms).values()
    fixed = circle.period - sum(term.seconds for term in parts)
    low, high = sum_band(parts)
    return fixed + low, fixed + high
