"""The single controller: it runs an algorithm of `planner.algorithms` against worker groups.

It moves futures. Rows travel between the processes through Ray's object store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import ObjectRef

from planner.algorithms import Algorithm
from planner.domain.dataflow import CONTROLLER
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from runtime.batch import Batch, Future, Shard
from runtime.schedule import Schedule
from runtime.transfer import Ranks
from runtime.watch import Origin, wait_for
from runtime.worker_group import Flight, SubmittedCall, WorkerGroup, send
from runtime.workers.call import Call, Report

PROMPTS = "prompts"
"""The role that deals out prompts and turns tokens into texts; in the process of the numeric calls."""

SHOWN_ITERATION = -1
"""Number under which prompts and seeds of shown samples are drawn: the same before and after training."""


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
        Handles by pool, in rank order, and that of the numeric calls under `CONTROLLER`.
    """

    def __init__(self, plan: Plan, processes: Mapping[str, Sequence[Any]]) -> None:
        self._plan = plan
        self._processes = processes
        self._schedule = Schedule({pool.name: pool.order for pool in plan.pools})

    def submit(self, algorithm: Algorithm, *, iteration: int) -> Flight:
        """Send out the calls of one iteration; those of the iteration before may still be on their way.

        Each pool runs its calls in the order of submission, so that an update's weights are there for the
        next iteration's generation, while other pools may run ahead.
        """
        flight = Flight(iteration)
        prompts = self._prompts(flight, self._plan.scenario.workload.samples)
        algorithm(self._roles(flight, self._schedule), prompts)
        self._schedule.finish()
        return flight

    def wait(self, flight: Flight) -> list[FinishedCall]:
        """Wait for all calls of an iteration.

        Raises
        ------
        WorkerError
            When a worker fails or dies; with the role, the rank and the worker's own traceback.
        """
        answers = wait_for(flight.reports)
        by_call: dict[str, list[Report]] = {}
        for ref, origin in flight.reports.items():
            by_call.setdefault(origin.call, []).append(answers[ref])
        return [FinishedCall(call=call, reports=tuple(by_call[call.name])) for call in flight.calls]

    def iterate(self, algorithm: Algorithm, *, iteration: int) -> list[FinishedCall]:
        """Run one iteration by itself."""
        return self.wait(self.submit(algorithm, iteration=iteration))

    def respond(self, role: str, samples: int) -> list[tuple[str, str]]:
        """Texts of the first prompts and of the role's responses to them, with the weights of now."""
        flight = Flight(SHOWN_ITERATION)
        roles = self._roles(flight, Schedule({}))
        batch: Batch = getattr(roles, role).generate(self._prompts(flight, samples))
        texts = self._ask_prompts("texts", flight, samples, batch.fields)
        wait_for(flight.reports)
        return ray.get(texts)

    def ask(self, role: str, method: str, *, pool: str = "", **options: str) -> list[Report]:
        """Call a method that reads and writes no field on all ranks of a role; the report of each.

        Parameters
        ----------
        pool
            Of a role that the plan does not have.
        """
        call = Call(
            name=f"{role}.{method}",
            role=role,
            method=method,
            iteration=SHOWN_ITERATION,
            rows=(range(0),),
            options=options,
        )
        reports = {
            send(process, call, {})[0]: Origin(call.name, role, rank)
            for rank, process in enumerate(self._processes[pool or self._pool(role)])
        }
        answers = wait_for(reports)
        return [answers[ref] for ref in reports]

    def _prompts(self, flight: Flight, samples: int) -> Batch:
        ref = self._ask_prompts("prompts", flight, samples, {})
        return Batch(samples, {"prompts": Future([Shard(range(samples), ref)])})

    def _ask_prompts(
        self, method: str, flight: Flight, samples: int, fields: Mapping[str, Future]
    ) -> ObjectRef:
        """Call the source of prompts; it writes one field, of the method's name."""
        call = Call(
            name=f"{PROMPTS}.{method}",
            role=PROMPTS,
            method=method,
            iteration=flight.iteration,
            rows=(range(samples),),
            writes=(method,),
        )
        report, written = send(self._processes[CONTROLLER][0], call, fields)
        flight.reports[report] = Origin(call.name, PROMPTS, 0)
        return written

    def _roles(self, flight: Flight, schedule: Schedule) -> "_Roles":
        roles = (*self._plan.strategies, CONTROLLER)
        return _Roles({role: self._group(role, flight, schedule) for role in roles})

    def _group(self, role: str, flight: Flight, schedule: Schedule) -> WorkerGroup:
        pool = self._pool(role)
        return WorkerGroup(
            role=role,
            pool=pool,
            processes=self._processes[pool],
            ranks=ranks_of(self._plan, role),
            mini_batches=self._plan.scenario.workload.mini_batches,
            schedule=schedule,
            flight=flight,
        )

    def _pool(self, role: str) -> str:
        return CONTROLLER if role == CONTROLLER else self._plan.pool_of(role).name


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
