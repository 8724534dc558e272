"""Iterations of a plan as a timeline: calls on their pools, in order, once their inputs are there."""

from collections.abc import Iterator

from planner.domain.dataflow import DataflowGraph, ModelCall
from planner.domain.plan import Plan
from planner.domain.timeline import Span, Timeline
from planner.simulation.engine import Interval, Task, play


def simulate(plan: Plan, graph: DataflowGraph, *, iterations: int = 1) -> Timeline:
    """The predicted timeline of a plan.

    A call starts when its inputs are ready and its pool is free. A role generates only after its own updates
    of the iteration before, whose weights it needs; other pools may run ahead. Calls take the seconds that
    the plan predicts; transfers of data and the controller's own work take none.
    """
    tasks = [task for index in range(iterations) for task in _tasks(plan, graph, index)]
    intervals = play(tasks)
    spans = [
        span
        for index in range(iterations)
        for call in graph.model_calls
        for span in _spans(plan, call, index, intervals[_name(call.name, index)])
    ]
    return Timeline(origin="predicted", spans=tuple(sorted(spans, key=lambda span: span.start_s)))


def _tasks(plan: Plan, graph: DataflowGraph, index: int) -> Iterator[Task]:
    """One iteration's calls, each pool's in its order, and the controller's beside them."""
    for pool in plan.pools:
        for name in pool.order:
            call = graph.call(name)
            seconds = plan.prediction.calls[name].seconds
            yield _task(graph, call, index, queue=pool.name, seconds=seconds)
    for call in graph.calls:
        if call.kind == "numeric":
            yield _task(graph, call, index, queue=None, seconds=0.0)


def _task(graph: DataflowGraph, call: ModelCall, index: int, *, queue: str | None, seconds: float) -> Task:
    after = {_name(other, index) for other in graph.inputs_of(call.name)}
    if call.kind == "generate" and index > 0:
        updates = (other for other in graph.calls_of(call.role) if other.kind == "train")
        after |= {_name(update.name, index - 1) for update in updates}
    return Task(
        name=_name(call.name, index), queue=queue, seconds=seconds, after=frozenset(after), priority=index
    )


def _spans(plan: Plan, call: ModelCall, index: int, interval: Interval) -> Iterator[Span]:
    """The call's span; for generation, that of the weight sync before it as well."""
    pool = plan.pool_of(call.role).name
    synced_s = interval.start_s + plan.prediction.calls[call.name].reshard_seconds
    if call.kind == "generate":
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
