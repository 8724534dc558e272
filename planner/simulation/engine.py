"""A discrete-event engine: tasks that wait for tasks, and queues that run one task at a time, in order.

Events lie in a heap ordered by (time, priority, sequence), a total order, so that ties always fall alike.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from planner.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work of a known length."""

    name: str
    queue: str | None
    """Where it runs; none runs it at once, beside anything else."""
    seconds: float
    after: frozenset[str] = frozenset()
    """Names of the tasks that must have ended."""
    priority: int = 0
    """Of tasks that end together, which one counts as first: the smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """When a task ran."""

    start_s: float
    end_s: float


def play(tasks: Sequence[Task]) -> dict[str, Interval]:
    """When each task runs; tasks of one queue run in the order given.

    Raises
    ------
    SpecError
        If tasks wait for each other, or a queue's order has one wait for a later one.
    """
    run = _Run(tasks)
    run.start_ready(0.0)
    while run.events:
        time, _, _, task = heapq.heappop(run.events)
        run.end(task)
        run.start_ready(time)
    stuck = [task for task in tasks if task.name not in run.intervals]
    if stuck:
        missing = ", ".join(sorted(stuck[0].after - run.ended)) or "an earlier task of its queue"
        where = f" on {stuck[0].queue}" if stuck[0].queue else ""
        raise SpecError(
            f"{stuck[0].name}{where} can never start: it waits for {missing}; put what it needs before it"
        )
    return run.intervals


class _Run:
    """State of one run: what has ended, what each line still holds, and the ends to come."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.intervals: dict[str, Interval] = {}
        self.ended: set[str] = set()
        self.events: list[tuple[float, int, int, Task]] = []
        self._busy: set[str] = set()
        self._lines: dict[str, deque[Task]] = {}
        for task in tasks:
            self._lines.setdefault(_line(task), deque()).append(task)

    def end(self, task: Task) -> None:
        self.ended.add(task.name)
        self._busy.discard(_line(task))

    def start_ready(self, time: float) -> None:
        for line, waiting in self._lines.items():
            if waiting and line not in self._busy and waiting[0].after <= self.ended:
                self._busy.add(line)
                self._start(waiting.popleft(), time)

    def _start(self, task: Task, time: float) -> None:
        end = time + task.seconds
        self.intervals[task.name] = Interval(start_s=time, end_s=end)
        heapq.heappush(self.events, (end, task.priority, len(self.intervals), task))


def _line(task: Task) -> str:
    """The queue of a task, or a line of its own."""
    return f"queue {task.queue}" if task.queue is not None else f"task {task.name}"
