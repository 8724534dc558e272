"""A plan's iterations with every generation event by event, and what its devices do meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.costs import CostModel
from planner.costs.iteration import dollars_per_million_tokens, tokens_per_second
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan, Pool
from planner.domain.simulated import Idle, Simulation
from planner.simulation.iteration import Course, course_of
from planner.simulation.rollouts import Reports, rollouts

FILL = 8
"""Iterations for each one that may be under way at once until a pipeline is taken to be full; with two and
three of them the differences between ends stay the same after some ten."""
COUNTED = 16
"""Iterations, at least, that a steady state is the mean of."""


def simulate(
    plan: Plan, graph: DataflowGraph, costs: CostModel, *, iterations: int = 1, curves: bool = True
) -> Simulation:
    """So many iterations of a plan, and its steady state.

    Generations take what their events take, with lengths drawn for each iteration; other calls take the
    plan's seconds, those of mean lengths. Where iterations overlap, the steady state is that of many more
    iterations whose generations are the drawn ones over and over.

    Parameters
    ----------
    curves
        Whether each generation is also to tell its tokens over time.
    """
    drawn = Drawn(
        plan=plan,
        reports=rollouts(plan, graph, costs, iterations=iterations, curves=curves),
        iterations=iterations,
    )
    course = course_of(plan, graph, iterations=iterations, seconds=drawn.seconds)
    steady = _steady(plan, graph, drawn, course)
    period = steady.seconds / steady.iterations
    keys = sorted(drawn.reports, key=lambda key: (key[1], key[0]))
    return Simulation(
        timeline=course.timeline,
        iterations=iterations,
        iteration_seconds=period,
        tokens_per_second=tokens_per_second(plan.scenario, period),
        predicted_seconds=plan.prediction.iteration_seconds,
        generation=tuple(drawn.reports[key] for key in keys),
        idle=tuple(_idle(plan, drawn, steady)),
        dollars_per_million_tokens=dollars_per_million_tokens(plan.scenario, plan.pools, period),
    )


def overlaps(plan: Plan) -> bool:
    """Whether one iteration may begin before the one before it has ended, or depends on it."""
    return len(plan.pools) > 1 or most_ahead(plan) > 0 or plan.scenario.rollouts.carry > 0


def most_ahead(plan: Plan) -> int:
    """Iterations that any call is ahead of its pool's rearmost one."""
    return max((ahead for pool in plan.pools for ahead in pool.ahead.values()), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The generations of a few iterations, which those after them repeat."""

    plan: Plan
    reports: Reports
    iterations: int

    def seconds(self, name: str, index: int) -> float:
        """Of a call in an iteration, however late."""
        call = self.plan.prediction.calls[name]
        one = self.reports.get((name, self.like(index)))
        return call.reshard_seconds + one.seconds if one else call.seconds

    def like(self, index: int) -> int:
        """The drawn iteration that an iteration is like."""
        return index % self.iterations


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Whole iterations in which nothing fills or drains."""

    course: Course
    start_s: float
    end_s: float
    iterations: int

    @property
    def seconds(self) -> float:
        return self.end_s - self.start_s

    def within(self, start_s: float, end_s: float) -> float:
        """Seconds of an interval that lie in these iterations."""
        return max(0.0, min(end_s, self.end_s) - max(start_s, self.start_s))


def _steady(plan: Plan, graph: DataflowGraph, drawn: Drawn, course: Course) -> Steady:
    if not overlaps(plan):
        return Steady(course=course, start_s=0.0, end_s=course.timeline.end_s, iterations=drawn.iterations)
    fill = max(drawn.iterations, FILL * (2 + plan.staleness))
    counted = -(-COUNTED // drawn.iterations) * drawn.iterations
    whole = fill + counted + 2 + plan.staleness + most_ahead(plan)
    longer = course_of(plan, graph, iterations=whole, seconds=drawn.seconds)
    ends = longer.ends_s
    return Steady(course=longer, start_s=ends[fill - 1], end_s=ends[fill - 1 + counted], iterations=counted)


def _idle(plan: Plan, drawn: Drawn, steady: Steady) -> Iterator[Idle]:
    """Of each pool in one iteration; causes inside generation are its devices', others the whole pool's."""
    period = steady.seconds / steady.iterations
    for pool in plan.pools:
        causes: dict[str, float] = {}
        for gap in steady.course.gaps[pool.name]:
            seconds = steady.within(gap.start_s, gap.end_s) * pool.devices
            causes[gap.cause] = causes.get(gap.cause, 0.0) + seconds
        spent = sum(causes.values())
        for cause, seconds in _idle_in_generation(pool, drawn, steady):
            causes[cause] = causes.get(cause, 0.0) + seconds
        inside = sum(causes.values()) - spent
        busy = pool.devices * sum(
            steady.within(span.start_s, span.end_s)
            for span in steady.course.timeline.spans
            if span.pool == pool.name
        )
        yield Idle(
            pool=pool.name,
            devices=pool.devices,
            device_seconds=pool.devices * period,
            busy=(busy - inside) / steady.iterations,
            idle={cause: seconds / steady.iterations for cause, seconds in causes.items() if seconds > 0},
        )
    if plan.idle_devices:
        unused = plan.idle_devices * period
        yield Idle(
            pool="none", devices=plan.idle_devices, device_seconds=unused, busy=0.0, idle={"unused": unused}
        )


def _idle_in_generation(pool: Pool, drawn: Drawn, steady: Steady) -> Iterator[tuple[str, float]]:
    """Device-seconds inside the pool's generations; of one that lies in part outside, in proportion."""
    for span in steady.course.timeline.spans:
        one = drawn.reports.get((span.call, drawn.like(span.iteration)))
        if span.pool == pool.name and one is not None and span.seconds > 0:
            share = steady.within(span.start_s, span.end_s) / span.seconds
            for cause, seconds in one.idle_device_seconds.items():
                yield cause, share * seconds
