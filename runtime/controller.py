"""The single controller: it runs an algorithm of `planner.algorithms` against worker groups.

It moves futures. Rows travel between the processes through Ray's object store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from planner.algorithms import Algorithm
from planner.domain.dataflow import CONTROLLER
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from runtime.batch import Batch, Future, Shard
from runtime.schedule import Schedule
from runtime.transfer import Ranks
from runtime.watch import Origin, wait_for
from runtime.worker_group import Flight, SubmittedCall, WorkerGroup
from runtime.workers.call import Report, Role
from runtime.workers.host import World


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """A call and the report of each of its ranks."""

    call: SubmittedCall
    reports: tuple[Report, ...]


class Controller:
    """Runs iterations on started processes.

    Parameters
    ----------
    processes
        Handles by pool, in rank order, and those of the numeric calls under `CONTROLLER`.
    """

    def __init__(self, plan: Plan, processes: Mapping[str, Sequence[Any]]) -> None:
        self._schedule = Schedule({pool.name: pool.order for pool in plan.pools})
        self._plan = plan
        self._processes = processes

    def iterate(
        self, algorithm: Algorithm, prompts: Sequence[Sequence[int]], *, iteration: int
    ) -> list[FinishedCall]:
        """Run one iteration and wait for all of its calls.

        Raises
        ------
        WorkerError
            When a worker fails or dies; with the role, the rank and the worker's own traceback.
        """
        flight = Flight(iteration)
        whole = Shard(range(len(prompts)), ray.put([list(tokens) for tokens in prompts]))
        algorithm(self._roles(flight), Batch(len(prompts), {"prompts": Future([whole])}))
        self._schedule.finish()
        answers = wait_for(flight.reports)
        by_call: dict[str, list[Report]] = {}
        for ref, origin in flight.reports.items():
            by_call.setdefault(origin.call, []).append(answers[ref])
        return [FinishedCall(call=call, reports=tuple(by_call[call.name])) for call in flight.calls]

    def _roles(self, flight: Flight) -> "_Roles":
        return _Roles({role: self._group(role, flight) for role in (*self._plan.strategies, CONTROLLER)})

    def _group(self, role: str, flight: Flight) -> WorkerGroup:
        pool = CONTROLLER if role == CONTROLLER else self._plan.pool_of(role).name
        return WorkerGroup(
            role=role,
            pool=pool,
            processes=self._processes[pool],
            ranks=ranks_of(self._plan, role),
            mini_batches=self._plan.scenario.workload.mini_batches,
            schedule=self._schedule,
            flight=flight,
        )


class _Roles:
    """Hands out worker groups by attribute."""

    def __init__(self, groups: Mapping[str, WorkerGroup]) -> None:
        self._groups = groups

    def __getattr__(self, role: str) -> WorkerGroup:
        return self._groups[role]


def ranks_of(plan: Plan, role: str) -> Ranks:
    """The ranks of a role; numeric calls have one."""
    if role == CONTROLLER:
        return Ranks(layout=ParallelStrategy())
    strategy = plan.strategies[role]
    return Ranks(layout=strategy.layout, generate=strategy.generate)


def join(processes: Sequence[Any], *, name: str) -> None:
    """Make the processes of a pool one process group."""
    first, *_ = ask_all(processes[:1], lambda rank, process: process.whereabouts.remote(), name=name)
    port, *_ = ask_all(processes[:1], lambda rank, process: process.free_port.remote(), name=name)
    size = len(processes)
    ask_all(
        processes,
        lambda rank, process: process.join.remote(World(rank, size, first.address, port)),
        name=name,
    )


def build(processes: Sequence[Any], builder: Callable[[], Mapping[str, Role]], *, name: str) -> None:
    """Make the roles of a pool in each of its processes."""
    ask_all(processes, lambda rank, process: process.build.remote(builder), name=name)


def ask_all(processes: Sequence[Any], ask: Callable[[int, Any], Any], *, name: str) -> list[Any]:
    """The answer of each process, in rank order; fails as soon as one fails."""
    refs = {ask(rank, process): Origin("start", name, rank) for rank, process in enumerate(processes)}
    answers = wait_for(refs)
    return [answers[ref] for ref in refs]
