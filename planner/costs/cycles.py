"""Systems of waits that repeat with a period, and the cycle of them that decides it.

An arc (u, v, length, lag) says that v of iteration i starts no sooner than ``length`` after u of iteration
i - lag has: with starts s and period P, s_v + lag P >= s_u + length. Starts exist if and only if no cycle of
arcs has sum(length) > P sum(lag); the least period is the greatest ratio of the two sums over all cycles
(Reiter, Scheduling parallel computations, JACM 1968). As lengths are never negative, a cycle of no lag or a
negative one lets no period do.
"""

from collections.abc import Sequence
from typing import NamedTuple

WholeArc = tuple[int, int, int, int]
"""An arc of a whole length: source, target, length, lag."""
TICKS = 2**60
"""Of a second: floats of a millisecond and more become whole numbers exactly."""


class Arc(NamedTuple):
    """One wait: number of its source and target, what must pass between their starts, iterations."""

    source: int
    target: int
    length: float
    lag: int


def positive_cycle(arcs: Sequence[WholeArc], period: int, starts: list[int]) -> list[WholeArc]:
    """Raise ``starts`` until all arcs hold; if that never ends, a cycle of arcs that forbids the period.

    Starts only rise, each to the least that the given ones allow (Bellman and Ford's longest paths).
    """
    weighted = [(arc, arc[0], arc[1], arc[2] - arc[3] * period) for arc in arcs]
    reasons: list[WholeArc | None] = [None] * len(starts)
    last = -1
    for _ in range(len(starts) + 1):
        last = -1
        for arc, source, target, weight in weighted:
            least = starts[source] + weight
            if least > starts[target]:
                starts[target], reasons[target], last = least, arc, target
        if last < 0:
            return []
    return _cycle_of(reasons, last)


def _cycle_of(reasons: Sequence[WholeArc | None], last: int) -> list[WholeArc]:
    """The cycle of reasons that leads to a step whose start still rises."""
    step = last
    for _ in reasons:
        reason = reasons[step]
        assert reason is not None, "what still rises after so many rounds hangs on a cycle"
        step = reason[0]
    cycle: list[WholeArc] = []
    while not cycle or cycle[-1][0] != step:
        reason = reasons[cycle[-1][0] if cycle else step]
        assert reason is not None, "a cycle has no end"
        cycle.append(reason)
    return cycle[::-1]


def critical_cycle(count: int, arcs: Sequence[Arc]) -> tuple[float, list[Arc]] | None:
    """The least period of so many steps, and a cycle of arcs that has it; none when no period does.

    Each cycle that forbids a period has a greater one, so that only those of cycles are tried. They are
    compared as fractions of whole numbers: in floats a cycle would forbid its own period by a rounding.
    """
    whole = [(arc.source, arc.target, round(arc.length * TICKS), arc.lag) for arc in arcs]
    original = dict(zip(whole, arcs, strict=True))
    length, lag, critical = 0, 1, list[WholeArc]()
    while cycle := positive_cycle(
        [(source, target, lag * ticks, iterations) for source, target, ticks, iterations in whole],
        length,
        [0] * count,
    ):
        critical = [(source, target, ticks // lag, iterations) for source, target, ticks, iterations in cycle]
        length, lag = sum(arc[2] for arc in critical), sum(arc[3] for arc in critical)
        if lag <= 0:
            return None
    found = [original[arc] for arc in critical]
    return sum(arc.length for arc in found) / lag, found
