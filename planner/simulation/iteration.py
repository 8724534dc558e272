"""Iterations of a plan as a timeline: calls on their pools, in order, once what they wait for is there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from planner.costs.services import seconds_of_services
from planner.costs.sync.crossing import crossings
from planner.domain.dataflow import GENERATOR, DataflowGraph, Dependence, ModelCall
from planner.domain.plan import Plan, Pool
from planner.domain.timeline import Span, Timeline
from planner.simulation.engine import Interval, Task, play

SERVICES = "services"
"""Where the spans of calls lie that take no devices."""

SecondsOf = Callable[[str, int], float]
"""Seconds of a call, by its name, in an iteration."""


class Gap(NamedTuple):
    """When a pool had nothing to run, and why (`planner.domain.simulated.Idle`)."""

    cause: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Iterations as they came."""

    timeline: Timeline
    gaps: Mapping[str, tuple[Gap, ...]]
    """Of each pool, from its first moment to the end of all pools' calls."""

    @property
    def ends_s(self) -> list[float]:
        """The last end of each iteration's calls."""
        ends: dict[int, float] = {}
        for span in self.timeline.spans:
            ends[span.iteration] = max(ends.get(span.iteration, 0.0), span.end_s)
        return [ends[iteration] for iteration in sorted(ends)]


def timeline_of(plan: Plan, graph: DataflowGraph, *, iterations: int = 1) -> Timeline:
    """The timeline in which every call takes the seconds that the plan predicts."""
    calls = plan.prediction.calls
    return course_of(plan, graph, iterations=iterations, seconds=lambda name, _: calls[name].seconds).timeline


def course_of(plan: Plan, graph: DataflowGraph, *, iterations: int, seconds: SecondsOf) -> Course:
    """The iterations of a plan whose calls take so many seconds.

    Each pool runs its order over and over, in its period j each call of iteration j + ahead, and begins with
    the periods in which only calls that are ahead have something to do. A call starts when its pool is free
    and what it waits for is there: inputs, and weights of earlier iterations. What comes from another node
    pool has to cross first, one iteration's turn of a wait after the other's; what crosses at the same time
    shares the link between the two. Services take their seconds beside all pools, their spans lie in no pool
    of the plan; the controller's work takes none.
    """
    played = _Played(plan, graph, iterations, seconds)
    intervals = play(list(played.tasks()))
    spans = [
        span
        for index in range(iterations)
        for call in (*graph.model_calls, *graph.service_calls)
        for span in _spans(plan, call, index, intervals[_name(call.name, index)])
    ]
    timeline = Timeline(origin="predicted", spans=tuple(sorted(spans, key=lambda span: span.start_s)))
    gaps = {pool.name: tuple(played.gaps(pool, intervals, timeline.end_s)) for pool in plan.pools}
    return Course(timeline=timeline, gaps=gaps)


@dataclass(frozen=True)
class _Played:
    """So many iterations of a plan as tasks."""

    plan: Plan
    graph: DataflowGraph
    iterations: int
    seconds: SecondsOf
    beside: dict[str, str] = field(default_factory=dict)
    """Tasks on no pool, and what a pool waits for in their time."""
    of_weights: set[tuple[str, str]] = field(default_factory=set)
    """Tasks with those that they wait for because of updated weights."""

    def tasks(self) -> Iterator[Task]:
        """Each pool's calls in the order in which it runs them; crossings, services and numeric calls."""
        for pool in self.plan.pools:
            for index, name in pool.turns(range(self.iterations)):
                yield self._task(name, index, queue=pool.name, seconds=self.seconds(name, index))
        services = seconds_of_services(self.plan.scenario, self.graph)
        placed = {name for pool in self.plan.pools for name in pool.order}
        for index in range(self.iterations):
            for call in self.graph.calls:
                if call.name not in placed:
                    self.beside[_name(call.name, index)] = "service"
                    yield self._task(call.name, index, queue=None, seconds=services.get(call.name, 0.0))
            for wait, seconds in self.away.items():
                self.beside[_crossing_name(wait, index)] = "link"
                yield self._crossing(wait, index, seconds)

    def gaps(self, pool: Pool, intervals: Mapping[str, Interval], end_s: float) -> Iterator[Gap]:
        """Between the pool's calls, by cause."""
        free_s = 0.0
        for index, name in pool.turns(range(self.iterations)):
            interval = intervals[_name(name, index)]
            if interval.start_s > free_s:
                yield from self._causes(_name(name, index), free_s, intervals)
            free_s = interval.end_s
        if end_s > free_s:
            yield Gap("end", free_s, end_s)

    def _causes(self, name: str, since_s: float, intervals: Mapping[str, Interval]) -> Iterator[Gap]:
        """Why a task started no earlier, and for how long: what it waited for last, and that before."""
        until_s, cause = intervals[name].start_s, "inputs"
        while (awaited := intervals[name].awaited) is not None:
            if (name, awaited) in self.of_weights:
                cause = "weights"
            if awaited not in self.beside:
                break
            start_s = max(since_s, intervals[awaited].start_s)
            if until_s > start_s:
                yield Gap(self.beside[awaited], start_s, until_s)
            name, until_s = awaited, min(until_s, start_s)
        if until_s > since_s:
            yield Gap(cause, since_s, until_s)

    def _task(self, name: str, index: int, *, queue: str | None, seconds: float) -> Task:
        return Task(
            name=_name(name, index),
            queue=queue,
            seconds=seconds,
            after=frozenset(self._awaited(name, index)),
            priority=index,
        )

    def _awaited(self, name: str, index: int) -> Iterator[str]:
        for wait in self.waits.get(name, ()):
            if index >= wait.lag:
                source = index - wait.lag
                task = _crossing_name(wait, source) if wait in self.away else _name(wait.source, source)
                if not wait.fields and self.graph.call(wait.source).kind in ("train", "send", "receive"):
                    self.of_weights.add((_name(name, index), task))
                yield task

    @cached_property
    def waits(self) -> Mapping[str, list[Dependence]]:
        """What each call waits for."""
        found: dict[str, list[Dependence]] = {}
        for wait in self.graph.dependences:
            found.setdefault(wait.target, []).append(wait)
        return found

    @cached_property
    def homes(self) -> Mapping[str, str]:
        """Node pool of each role."""
        return {role: pool.node_pool for pool in self.plan.pools for role in pool.roles}

    @cached_property
    def away(self) -> Mapping[Dependence, float]:
        """Seconds of the waits that cross from one node pool to another, alone on the link."""
        return crossings(self.plan.scenario, self.graph, self.homes)

    def _crossing(self, wait: Dependence, index: int, seconds: float) -> Task:
        """All that crosses from one node pool to another shares the link in that direction.

        What one call waits for of another comes in the order of the iterations, as on one channel.
        """
        source, target = (self.graph.call(name).role for name in (wait.source, wait.target))
        return Task(
            name=_crossing_name(wait, index),
            queue=f"{wait.source} to {wait.target}",
            seconds=seconds,
            after=frozenset({_name(wait.source, index)}),
            priority=index,
            link=f"{self.homes.get(source)} to {self.homes.get(target)}",
        )


def _spans(plan: Plan, call: ModelCall, index: int, interval: Interval) -> Iterator[Span]:
    """The call's span; for generation beside training, that of the weight sync before it as well."""
    known, start_s = plan.prediction.calls.get(call.name), interval.start_s
    pool = plan.pool_of(call.role).name if known else SERVICES
    whole = Span(
        pool=pool,
        role=call.role,
        call=call.name,
        kind=call.kind,
        iteration=index,
        start_s=start_s,
        end_s=interval.end_s,
    )
    if known is None or call.kind != "generate":
        yield whole
        return
    synced_s = start_s + known.reshard_seconds
    if call.role != GENERATOR:
        sync = {"call": f"{call.name}/reshard", "kind": "reshard", "end_s": synced_s}
        yield whole.model_copy(update=sync)
    yield whole.model_copy(update={"start_s": synced_s})


def _name(call: str, iteration: int) -> str:
    return f"{call} of iteration {iteration}"


def _crossing_name(wait: Dependence, iteration: int) -> str:
    return f"{wait.source} to {wait.target} of iteration {iteration}"
