"""What decides a plan's seconds: a busy pool, a circle of waits, a link, or each stage's slowest pool."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from planner.algorithms import planned_dataflow
from planner.costs.iteration import Circle, slowest_circle
from planner.costs.services import seconds_of_services
from planner.costs.sync.crossing import Link, crossings, link_of
from planner.domain.dataflow import DataflowGraph, Dependence
from planner.domain.plan import Plan, Pool

_BUSY = 1 - 1e-6
"""The share of the period from which on a pool counts as always busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalCall:
    """One of the calls that the iteration's seconds are made of."""

    name: str
    pool: str
    """Empty for a call that takes no devices."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalCrossing:
    """What one call waits for from another one on another node pool."""

    source: str
    target: str
    seconds: float
    """Alone on the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Critical:
    """The calls or crossings that would have to become faster for the iteration to."""

    kind: Literal["pool", "circle", "link", "stages"]
    seconds: float
    """Of one iteration."""
    iterations: int
    """That a circle reaches over before it comes back to its first call."""
    crossing_seconds: float
    """Of a circle or a link, on the way between node pools."""
    calls: tuple[CriticalCall, ...]
    """None where a link decides."""
    link: Link | None = None
    """From which node pool to which, where what crosses decides."""
    crossings: tuple[CriticalCrossing, ...] = ()
    """What crosses that link in an iteration, the most seconds first."""


def critical(plan: Plan) -> Critical:
    """What decides the plan's seconds under its time model."""
    played = _Played(plan)
    if plan.proof.time_model == "stage":
        return played.slowest_stages()
    busiest = max(plan.pools, key=played.load_s)
    if played.load_s(busiest) >= _BUSY * plan.prediction.iteration_seconds:
        return played.busy(busiest)
    circle = played.slowest
    return played.circle(circle) if circle.link is None else played.link(circle, circle.link)


@dataclass(frozen=True)
class _Played:
    """A plan with its dataflow and the seconds of every call that takes time."""

    plan: Plan

    @cached_property
    def graph(self) -> DataflowGraph:
        """What the plan runs: the synchronous dataflow where that won."""
        return planned_dataflow(self.plan)

    @cached_property
    def seconds(self) -> dict[str, float]:
        services = seconds_of_services(self.plan.scenario, self.graph)
        return services | {name: call.seconds for name, call in self.plan.prediction.calls.items()}

    def load_s(self, pool: Pool) -> float:
        return sum(self.seconds[name] for name in pool.order)

    def busy(self, pool: Pool) -> Critical:
        """A pool that is never idle."""
        calls = tuple(map(self._call, pool.order))
        period = self.plan.prediction.iteration_seconds
        return Critical(kind="pool", seconds=period, iterations=1, crossing_seconds=0.0, calls=calls)

    def slowest_stages(self) -> Critical:
        """Of each stage the calls of the pool that takes longest (HybridFlow, algorithm 1)."""
        found = list[CriticalCall]()
        for stage in self.graph.stages:
            by_pool: dict[str, list[CriticalCall]] = {}
            for call in map(self._call, (call.name for call in stage)):
                by_pool.setdefault(call.pool, []).append(call)
            found += max(by_pool.values(), key=lambda calls: sum(call.seconds for call in calls))
        seconds = self.plan.prediction.stage_cost_seconds
        return Critical(
            kind="stages", seconds=seconds, iterations=1, crossing_seconds=0.0, calls=tuple(found)
        )

    @cached_property
    def homes(self) -> dict[str, str]:
        """Node pool of each role."""
        return {role: pool.node_pool for pool in self.plan.pools for role in pool.roles}

    @cached_property
    def away(self) -> dict[Dependence, float]:
        """Seconds of what crosses from one node pool to another."""
        return crossings(self.plan.scenario, self.graph, self.homes)

    @cached_property
    def slowest(self) -> Circle:
        """What decides the period of the plan's orders."""
        circle = slowest_circle(self.graph, self.plan.pools, self.seconds, crossings=self.away)
        assert circle is not None, "a plan's orders wait in no circle"
        return circle

    def link(self, circle: Circle, link: Link) -> Critical:
        """All that crosses in the direction in which most does."""
        found = [
            CriticalCrossing(source=wait.source, target=wait.target, seconds=seconds)
            for wait, seconds in self.away.items()
            if link_of(self.graph, wait, self.homes) == link
        ]
        return Critical(
            kind="link",
            seconds=circle.period,
            iterations=circle.lag,
            crossing_seconds=circle.crossing_seconds,
            calls=(),
            link=link,
            crossings=tuple(sorted(found, key=lambda each: -each.seconds)),
        )

    def circle(self, circle: Circle) -> Critical:
        """The circle of waits of the most seconds an iteration."""
        return Critical(
            kind="circle",
            seconds=circle.period,
            iterations=circle.lag,
            crossing_seconds=circle.crossing_seconds,
            calls=tuple(self._call(name) for name in circle.calls if name in self.seconds),
        )

    def _call(self, name: str) -> CriticalCall:
        pool = next((pool.name for pool in self.plan.pools if name in pool.order), "")
        return CriticalCall(name=name, pool=pool, seconds=self.seconds[name])
