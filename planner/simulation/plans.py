"""A plan's iterations with every generation event by event, and what its devices do meanwhile."""

from collections.abc import Iterator, Mapping

from planner.costs import CostModel
from planner.costs.iteration import dollars_per_million_tokens, tokens_per_second
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Plan
from planner.domain.simulated import Idle, Simulation
from planner.domain.timeline import Timeline
from planner.simulation.iteration import Course, course_of
from planner.simulation.rollouts import Reports, rollouts


def simulate(
    plan: Plan, graph: DataflowGraph, costs: CostModel, *, iterations: int = 1, curves: bool = True
) -> Simulation:
    """So many iterations of a plan.

    Generations take what their events take, with lengths drawn for each iteration; other calls take the
    plan's seconds, those of mean lengths.

    Parameters
    ----------
    curves
        Whether each generation is also to tell its tokens over time.
    """
    generation = rollouts(plan, graph, costs, iterations=iterations, curves=curves)
    calls = plan.prediction.calls

    def seconds(name: str, index: int) -> float:
        one = generation.get((name, index))
        return calls[name].reshard_seconds + one.seconds if one else calls[name].seconds

    course = course_of(plan, graph, iterations=iterations, seconds=seconds)
    period = steady_seconds(course.timeline, fill=1 + plan.staleness, drain=most_ahead(plan))
    return Simulation(
        timeline=course.timeline,
        iterations=iterations,
        iteration_seconds=period,
        tokens_per_second=tokens_per_second(plan.scenario, period),
        predicted_seconds=plan.prediction.iteration_seconds,
        generation=tuple(generation[key] for key in sorted(generation, key=lambda key: (key[1], key[0]))),
        idle=tuple(_idle(plan, course, generation)),
        dollars_per_million_tokens=dollars_per_million_tokens(plan.scenario, plan.pools, period),
    )


def most_ahead(plan: Plan) -> int:
    """Iterations that any call is ahead of its pool's rearmost one."""
    return max((ahead for pool in plan.pools for ahead in pool.ahead.values()), default=0)


def steady_seconds(timeline: Timeline, *, fill: int, drain: int) -> float:
    """From the end of one iteration to that of the next, on average.

    Parameters
    ----------
    fill
        First iterations that do not count, as they fill the pipeline.
    drain
        Last ones that do not, as pools have nothing to do that would be ahead of them.
    """
    ends: dict[int, float] = {}
    for span in timeline.spans:
        ends[span.iteration] = max(ends.get(span.iteration, 0.0), span.end_s)
    last = max(0, max(ends) - drain)
    if last == 0:
        return ends[0]
    first = min(fill, last - 1)
    return (ends[last] - ends[first]) / (last - first)


def _idle(plan: Plan, course: Course, generation: Reports) -> Iterator[Idle]:
    """Device-seconds of each pool; causes inside generation are its devices', others the whole pool's."""
    end = course.timeline.end_s
    inside = _idle_in_generation(plan, generation)
    for pool in plan.pools:
        causes = {cause: gap * pool.devices for cause, gap in course.gaps[pool.name].items()}
        causes |= inside.get(pool.name, {})
        spent = sum(span.seconds for span in course.timeline.spans if span.pool == pool.name) * pool.devices
        yield Idle(
            pool=pool.name,
            devices=pool.devices,
            device_seconds=pool.devices * end,
            busy=spent - sum(inside.get(pool.name, {}).values()),
            idle=causes,
        )
    if plan.idle_devices:
        unused = plan.idle_devices * end
        yield Idle(
            pool="none", devices=plan.idle_devices, device_seconds=unused, busy=0.0, idle={"unused": unused}
        )


def _idle_in_generation(plan: Plan, generation: Reports) -> Mapping[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in generation.values():
        causes = found.setdefault(plan.pool_of(one.call.partition(".")[0]).name, {})
        for cause, seconds in one.idle_device_seconds.items():
            if seconds > 0:
                causes[cause] = causes.get(cause, 0.0) + seconds
    return found
