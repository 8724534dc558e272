"""In which call another placement's best plan loses."""

from collections.abc import Mapping
from dataclasses import dataclass

from planner.domain.plan import LossKind
from planner.search.answers.forecast import Forecast

NOTABLE = 0.05
"""Share of a loss from which on a call that takes longer explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What explains most of a loss."""

    call: str
    seconds: float
    kind: LossKind


def loss_of(other: Forecast, best: Forecast) -> Loss:
    """The call that explains best why a plan takes longer, of those that decide its seconds.

    That is the one that takes longer than in the best plan; if none does notably, the one that takes most of
    those that have come to share a pool with the greatest; else the greatest, with the whole loss. Where a
    link between node pools decides, it is the call that waits for the most of what crosses.
    """
    parts = other.deciding_seconds
    whole = max(0.0, other.solution.seconds - best.solution.seconds)
    if not parts:
        return Loss(call=other.most_crossing.target, seconds=whole, kind="crosses")
    growth = {name: other.seconds[name] - best.seconds[name] for name in parts}
    slowest = _greatest(growth)
    if growth[slowest] > NOTABLE * whole:
        return Loss(call=slowest, seconds=growth[slowest], kind="slower")
    greatest = _greatest(parts)
    mates = {name: seconds for name, seconds in parts.items() if _have_met(name, greatest, other, best)}
    if mates:
        joined = _greatest(mates)
        return Loss(call=joined, seconds=parts[joined], kind="shares")
    return Loss(call=greatest, seconds=whole, kind="waits")


def _greatest(seconds: Mapping[str, float]) -> str:
    """The call of most seconds, of equals the first by name."""
    return min(seconds, key=lambda name: (-seconds[name], name))


def _have_met(one: str, two: str, other: Forecast, best: Forecast) -> bool:
    """Whether two calls share a pool in the other plan only."""
    return _share(one, two, other) and not _share(one, two, best)


def _share(one: str, two: str, forecast: Forecast) -> bool:
    roles = {forecast.graph.call(name).role for name in (one, two)}
    return any(roles <= set(pool.roles) for pool in forecast.solution.pools)
