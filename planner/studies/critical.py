"""What decides a plan's seconds: an always busy pool, a circle of waits, or each stage's slowest pool."""

from dataclasses import dataclass
from typing import Literal

from planner.costs.iteration import slowest_circle
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Pool
from planner.studies.planning import dataflow

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
class Critical:
    """The calls that would have to become faster for the iteration to."""

    kind: Literal["pool", "circle", "stages"]
    seconds: float
    """Of one iteration."""
    iterations: int
    """That a circle reaches over before it comes back to its first call."""
    crossing_seconds: float
    """Of a circle, on the way between node pools."""
    calls: tuple[CriticalCall, ...]


def critical(plan: Plan) -> Critical:
    """What decides the plan's seconds under its time model."""
    if plan.proof.time_model == "stage":
        return _slowest_stages(plan)
    busiest = max(plan.pools, key=lambda pool: _load_s(plan, pool))
    period = plan.prediction.iteration_seconds
    if _load_s(plan, busiest) >= _BUSY * period:
        calls = tuple(_call(plan, name) for name in busiest.order)
        return Critical(kind="pool", seconds=period, iterations=1, crossing_seconds=0.0, calls=calls)
    return _circle(plan)


def _slowest_stages(plan: Plan) -> Critical:
    """Of each stage the calls of the pool that takes longest (HybridFlow, algorithm 1)."""
    found = list[CriticalCall]()
    for stage in _graph(plan).stages:
        by_pool: dict[str, list[CriticalCall]] = {}
        for call in stage:
            by_pool.setdefault(_pool_of(plan, call.name), []).append(_call(plan, call.name))
        found += max(by_pool.values(), key=lambda calls: sum(call.seconds for call in calls))
    seconds = plan.prediction.stage_cost_seconds
    return Critical(kind="stages", seconds=seconds, iterations=1, crossing_seconds=0.0, calls=tuple(found))


def _circle(plan: Plan) -> Critical:
    """The circle of waits of the most seconds an iteration."""
    seconds = {name: call.seconds for name, call in plan.prediction.calls.items()}
    circle = slowest_circle(_graph(plan), plan.pools, seconds)
    assert circle is not None, "a plan's orders wait in no circle"
    return Critical(
        kind="circle",
        seconds=circle.period,
        iterations=circle.lag,
        crossing_seconds=circle.crossing_seconds,
        calls=tuple(_call(plan, name) for name in circle.calls if name in seconds),
    )


def _graph(plan: Plan) -> DataflowGraph:
    """The dataflow that the plan runs, the synchronous one where that won."""
    return dataflow(plan.scenario.model_copy(update={"staleness": plan.staleness}))


def _call(plan: Plan, name: str) -> CriticalCall:
    return CriticalCall(name=name, pool=_pool_of(plan, name), seconds=plan.prediction.calls[name].seconds)


def _load_s(plan: Plan, pool: Pool) -> float:
    return sum(plan.prediction.calls[name].seconds for name in pool.order)


def _pool_of(plan: Plan, name: str) -> str:
    return next((pool.name for pool in plan.pools if name in pool.order), "")
