"""A discrete-event engine: tasks that wait for tasks, queues that run one at a time, links that all share.

Events lie in a heap ordered by (time, priority, sequence), a total order, so that ties always fall alike.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Work of a known length."""

    name: str
    queue: str | None
    """Where it runs; none runs it at once, beside anything else."""
    seconds: float
    """Of a task on a link, those that it takes alone."""
    after: frozenset[str] = frozenset()
    """Names of the tasks that must have ended."""
    priority: int = 0
    """Of tasks that end together, which one counts as first: the smaller."""
    link: str | None = None
    """What it shares evenly with all others that are on it at the same time (processor sharing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """When a task ran."""

    start_s: float
    end_s: float
    awaited: str | None = None
    """Of what it waited for, the one that ended last; none if nothing was to be waited for."""


def play(tasks: Sequence[Task]) -> dict[str, Interval]:
    """When each task runs; tasks of one queue run in the order given.

    Raises
    ------
    SpecError
        If tasks wait for each other, or a queue's order has one wait for a later one.
    """
    run = _Run(tasks)
    for task in tasks:
        run.start_if_ready(task, 0.0)
    while run.events:
        time, _, _, task, version = heapq.heappop(run.events)
        if version == run.versions.get(task.name, 0):
            run.end(task, time)
    stuck = [task for task in tasks if task.name not in run.intervals]
    if stuck:
        missing = ", ".join(sorted(stuck[0].after - run.intervals.keys())) or "an earlier task of its queue"
        where = f" on {stuck[0].queue}" if stuck[0].queue else ""
        raise SpecError(
            f"{stuck[0].name}{where} can never start: it waits for {missing}; put what it needs before it"
        )
    return run.intervals


@dataclass(slots=True)
class _Flows:
    """Tasks on one link, with the seconds that each would still take alone."""

    left: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    since: float = 0.0

    def advance(self, time: float) -> None:
        """What has been done by then."""
        if self.left:
            done = (time - self.since) / len(self.left)
            self.left = {name: max(0.0, seconds - done) for name, seconds in self.left.items()}
        self.since = time


class _Run:
    """State of one run: what each queue still holds, what runs, and the ends to come."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.intervals: dict[str, Interval] = {}
        self.events: list[tuple[float, int, int, Task, int]] = []
        self.versions: dict[str, int] = {}
        """Of ends that a change on their link has moved; older events of the same task are void."""
        self._started: dict[str, tuple[float, str | None]] = {}
        self._missing = {task.name: len(task.after) for task in tasks}
        self._awaited: dict[str, str] = {}
        self._targets: dict[str, list[Task]] = {}
        self._busy: set[str] = set()
        self._lines: dict[str, deque[Task]] = {}
        self._links: dict[str, _Flows] = {}
        self._sequence = 0
        for task in tasks:
            for name in sorted(task.after):
                self._targets.setdefault(name, []).append(task)
            if task.queue is not None:
                self._lines.setdefault(task.queue, deque()).append(task)

    def end(self, task: Task, time: float) -> None:
        start, awaited = self._started[task.name]
        self.intervals[task.name] = Interval(start_s=start, end_s=time, awaited=awaited)
        if task.link is not None:
            self._leave(task, time)
        if task.queue is not None:
            self._busy.discard(task.queue)
        for target in self._targets.get(task.name, ()):
            self._missing[target.name] -= 1
            self._awaited[target.name] = task.name
        for target in self._targets.get(task.name, ()):
            self.start_if_ready(target, time)
        if task.queue is not None and self._lines[task.queue]:
            self.start_if_ready(self._lines[task.queue][0], time)

    def start_if_ready(self, task: Task, time: float) -> None:
        """Start a task whose turn it is and that waits for nothing any more."""
        if self._missing[task.name] or task.name in self._started:
            return
        if task.queue is not None:
            line = self._lines[task.queue]
            if task.queue in self._busy or line[0] is not task:
                return
            line.popleft()
            self._busy.add(task.queue)
        self._started[task.name] = (time, self._awaited.get(task.name))
        if task.link is None:
            self._expect(task, time + task.seconds)
        else:
            self._join(task, time)

    def _join(self, task: Task, time: float) -> None:
        assert task.link is not None, "only tasks on a link share one"
        flows = self._links.setdefault(task.link, _Flows())
        flows.advance(time)
        flows.left[task.name], flows.tasks[task.name] = task.seconds, task
        self._expect_all(flows)

    def _leave(self, task: Task, time: float) -> None:
        assert task.link is not None, "only tasks on a link share one"
        flows = self._links[task.link]
        flows.advance(time)
        del flows.left[task.name]
        self._expect_all(flows)

    def _expect_all(self, flows: _Flows) -> None:
        """Ends of all tasks on a link, as long as no other comes or goes."""
        for name, seconds in flows.left.items():
            self.versions[name] = self.versions.get(name, 0) + 1
            self._expect(flows.tasks[name], flows.since + seconds * len(flows.left))

    def _expect(self, task: Task, time: float) -> None:
        self._sequence += 1
        version = self.versions.get(task.name, 0)
        heapq.heappush(self.events, (time, task.priority, self._sequence, task, version))
