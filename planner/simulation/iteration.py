"""Iterations of a plan as a timeline: calls on their pools, in order, once what they wait for is there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from planner.costs.services import seconds_of_services
from planner.costs.sync.crossing import crossings
from planner.domain.dataflow import GENERATOR, DataflowGraph, Dependence, ModelCall
from planner.domain.plan import Plan, Pool
from planner.domain.timeline import Span, Timeline
from planner.simulation.engine import Interval, Task, play


def simulate(plan: Plan, graph: DataflowGraph, *, iterations: int = 1) -> Timeline:
    """The predicted timeline of a plan.

    Each pool runs its order over and over, in its period j each call of iteration j + ahead, and begins with
    the periods in which only calls that are ahead have something to do. A call starts when its pool is free
    and what it waits for is there: inputs, and weights of earlier iterations; what comes from another node
    pool has to cross first. Calls take the seconds that the plan predicts. Services take theirs beside all
    pools and have no spans; the controller's own work takes none.
    """
    played = _Played(plan, graph, iterations)
    intervals = play(list(played.tasks()))
    spans = [
        span
        for index in range(iterations)
        for call in graph.model_calls
        for span in _spans(plan, call, index, intervals[_name(call.name, index)])
    ]
    return Timeline(origin="predicted", spans=tuple(sorted(spans, key=lambda span: span.start_s)))


@dataclass(frozen=True)
class _Played:
    """So many iterations of a plan as tasks."""

    plan: Plan
    graph: DataflowGraph
    iterations: int

    def tasks(self) -> Iterator[Task]:
        """Each pool's calls in the order in which it runs them; crossings, services and numeric calls."""
        for pool in self.plan.pools:
            for name, index in self._turns(pool):
                seconds = self.plan.prediction.calls[name].seconds
                yield self._task(name, index, queue=pool.name, seconds=seconds)
        services = seconds_of_services(self.plan.scenario, self.graph)
        placed = {name for pool in self.plan.pools for name in pool.order}
        for index in range(self.iterations):
            for call in self.graph.calls:
                if call.name not in placed:
                    yield self._task(call.name, index, queue=None, seconds=services.get(call.name, 0.0))
            for wait, seconds in self.away.items():
                yield _crossing(wait, index, seconds)

    def _turns(self, pool: Pool) -> Iterator[tuple[str, int]]:
        """Calls and their iterations, as the pool runs them."""
        for period in range(-max(pool.ahead.values(), default=0), self.iterations):
            for name in pool.order:
                index = period + pool.ahead.get(name, 0)
                if 0 <= index < self.iterations:
                    yield name, index

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
                yield _crossing_name(wait, source) if wait in self.away else _name(wait.source, source)

    @cached_property
    def waits(self) -> Mapping[str, list[Dependence]]:
        """What each call waits for."""
        found: dict[str, list[Dependence]] = {}
        for wait in self.graph.dependences:
            found.setdefault(wait.target, []).append(wait)
        return found

    @cached_property
    def away(self) -> Mapping[Dependence, float]:
        """Seconds of the waits that cross from one node pool to another."""
        homes = {role: pool.node_pool for pool in self.plan.pools for role in pool.roles}
        return crossings(self.plan.scenario, self.graph, homes)


def _crossing(wait: Dependence, index: int, seconds: float) -> Task:
    after = frozenset({_name(wait.source, index)})
    return Task(name=_crossing_name(wait, index), queue=None, seconds=seconds, after=after, priority=index)


def _spans(plan: Plan, call: ModelCall, index: int, interval: Interval) -> Iterator[Span]:
    """The call's span; for generation beside training, that of the weight sync before it as well."""
    pool = plan.pool_of(call.role).name
    synced_s = interval.start_s + plan.prediction.calls[call.name].reshard_seconds
    if call.kind == "generate" and call.role != GENERATOR:
        yield Span(
            pool=pool,
            role=call.role,
            call=f"{call.name}/reshard",
            kind="reshard",
            iteration=index,
            start_s=interval.start_s,
            end_s=synced_s,
        )
    yield Span(
        pool=pool,
        role=call.role,
        call=call.name,
        kind=call.kind,
        iteration=index,
        start_s=synced_s,
        end_s=interval.end_s,
    )


def _name(call: str, iteration: int) -> str:
    return f"{call} of iteration {iteration}"


def _crossing_name(wait: Dependence, iteration: int) -> str:
    return f"{wait.source} to {wait.target} of iteration {iteration}"
