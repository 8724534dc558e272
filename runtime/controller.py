"""The single controller: it runs an algorithm of `planner.algorithms` against worker groups.

It moves futures. Rows travel between the processes through Ray's object store. What the controller learns
from the reports of a call is which samples there are and how long they are, so that it can share them out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from planner.algorithms import Algorithm, planned_dataflow
from planner.domain.algorithm import AlgorithmOptions, DapoOptions
from planner.domain.dataflow import ACTOR, CONTROLLER, GENERATOR
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from runtime.batch import Batch, Future, Samples, Shard
from runtime.schedule import Schedule
from runtime.transfer import Ranks
from runtime.watch import Origin, SubmittedCall, Traffic, wait_for
from runtime.worker_group import Flight, WorkerGroup, send
from runtime.workers.call import PROMPTS, Call, Report

SHOWN_ITERATION = -1
"""Number under which prompts and seeds of shown samples are drawn: the same before and after training."""

_DEALT = {"prompts": ("prompts", "prompt_ids"), "pretraining": ("pretraining",)}
"""Fields that the source of prompts writes, by method."""


class Controller:
    """Runs iterations on started processes.

    Parameters
    ----------
    processes
        Handles by pool, in rank order; that of the numeric calls under `CONTROLLER`, those of services under
        the names of their roles.
    """

    def __init__(self, plan: Plan, processes: Mapping[str, Sequence[Any]]) -> None:
        self._plan = plan
        self._processes = processes
        self._schedule = Schedule()
        self._traffic = Traffic()
        graph = planned_dataflow(plan)
        works = {call.work for call in graph.calls if call.kind == "generate"}
        work = "candidates" if "candidates" in works else "samples"
        self._samples = plan.scenario.workload.part(work).samples

    @property
    def generating(self) -> str:
        """The role that generates."""
        return GENERATOR if GENERATOR in self._plan.strategies else ACTOR

    @property
    def window(self) -> int:
        """Iterations that are worth having under way at the same time."""
        return 2 + max((ahead for pool in self._plan.pools for ahead in pool.ahead.values()), default=0)

    def begin(self, iterations: range) -> None:
        """Get ready for these iterations, each of which is submitted once."""
        self._schedule = Schedule(self._plan.pools, iterations=iterations)

    def submit(self, algorithm: Algorithm, *, iteration: int, extra_prompts: int = 0) -> Flight:
        """Make the calls of one iteration; those of the iterations before may still be on their way.

        Each pool runs its calls in the plan's order, while other pools may run ahead.

        Parameters
        ----------
        extra_prompts
            That stay under way beyond the iteration.
        """
        flight = Flight(iteration)
        roles = self._roles(flight, self._schedule)
        extra = extra_prompts * self._plan.scenario.workload.samples_per_prompt
        dealt = self._deal(flight, "prompts", range(self._samples + extra))
        algorithm(roles, Batch(Samples(dealt.samples.rows, extra=extra), dealt.fields))
        if GENERATOR in self._plan.strategies:
            roles.generator.receive_weights(roles[ACTOR].send_weights())
        return flight

    def wait(self, flight: Flight) -> list[SubmittedCall]:
        """Wait for all calls of an iteration, and meanwhile submit what becomes ready.

        Raises
        ------
        WorkerError
            When a worker fails or dies; with the role, the rank and the worker's own traceback.
        PlanMismatchError
            When the plan's orders wait for each other.
        """
        while not flight.is_over:
            if not self._traffic:
                self._schedule.refuse_left_over()
            self._traffic.settle()
            self._schedule.go_on()
        flight.candidates.clear()  # they refer back to the flight: rows would stay for long
        return flight.calls

    def finish(self) -> None:
        """Check that no call of the iterations was left over."""
        self._schedule.refuse_left_over()

    def iterate(self, algorithm: Algorithm, *, iteration: int) -> list[SubmittedCall]:
        """Run one iteration by itself."""
        self.begin(range(iteration, iteration + 1))
        finished = self.wait(self.submit(algorithm, iteration=iteration))
        self.finish()
        return finished

    def respond(self, role: str, samples: int) -> list[tuple[str, str]]:
        """Texts of the first prompts and of a response of the role to each, with the weights of now."""
        flight = Flight(SHOWN_ITERATION)
        each = self._plan.scenario.workload.samples_per_prompt
        dealt = self._deal(flight, "prompts", range(samples * each))
        group = self._group(role, flight, Schedule())
        batch: Batch = group.generate(Batch(Samples(dealt.samples.rows, each=each), dealt.fields))
        self.wait(flight)
        texts = self._ask_prompts("texts", flight, batch.samples.rows, batch.fields, ("texts",))
        self.wait(flight)
        return ray.get(texts[0])

    def sync(self) -> None:
        """Bring the actor's weights to the generator, outside of any iteration."""
        flight = Flight(SHOWN_ITERATION)
        roles = self._roles(flight, Schedule())
        roles.generator.receive_weights(roles[ACTOR].send_weights())
        self.wait(flight)

    def ask(self, role: str, method: str, *, pool: str = "", **options: str | int) -> list[Report]:
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
            rows=((),),
            options=options,
        )
        reports = {
            send(process, call, {})[0]: Origin(call.name, role, rank)
            for rank, process in enumerate(self._processes[pool or self._pool(role)])
        }
        answers = wait_for(reports)
        return [answers[ref] for ref in reports]

    def _deal(self, flight: Flight, method: str, rows: range) -> Batch:
        names = _DEALT[method]
        written = self._ask_prompts(method, flight, rows, {}, names)
        fields = {name: Future([Shard(rows, ref)]) for name, ref in zip(names, written, strict=True)}
        return Batch(Samples(rows), fields)

    def _ask_prompts(
        self,
        method: str,
        flight: Flight,
        rows: Sequence[int],
        fields: Mapping[str, Future],
        writes: tuple[str, ...],
    ) -> list[ray.ObjectRef]:
        """Call the source of prompts."""
        call = Call(
            name=f"{PROMPTS}.{method}",
            role=PROMPTS,
            method=method,
            iteration=flight.iteration,
            rows=(rows,),
            writes=writes,
        )
        inputs = {name: (future, tuple(rows)) for name, future in fields.items() if name in _SHOWN}
        report, *written = send(self._processes[CONTROLLER][0], call, inputs)
        submitted = SubmittedCall(pool=CONTROLLER, role=PROMPTS, name=call.name, kind="numeric", ranks=1)
        flight.asked.append(submitted)
        self._traffic.add(report, submitted, 0)
        return written

    def _roles(self, flight: Flight, schedule: Schedule) -> "_Roles":
        return _Roles(lambda role: self._group(role, flight, schedule), self.generating)

    def _group(self, role: str, flight: Flight, schedule: Schedule) -> WorkerGroup:
        pool = self._pool(role)
        return WorkerGroup(
            role=role,
            pool=pool,
            processes=self._processes[pool],
            ranks=ranks_of(self._plan, role),
            workload=self._plan.scenario.workload,
            schedule=schedule,
            flight=flight,
            traffic=self._traffic,
            deal=lambda method, rows: self._deal(flight, method, rows),
            rounds=rounds_of(self._plan.scenario.algorithm),
        )

    def _pool(self, role: str) -> str:
        return self._plan.pool_of(role).name if role in self._plan.strategies else role


_SHOWN = frozenset({"tokens", "response_mask"})
"""Fields that texts are made of."""


class _Roles:
    """Hands out worker groups by attribute; a generator, where there is one, generates for the actor."""

    def __init__(self, group: Callable[[str], WorkerGroup], generating: str) -> None:
        self._group, self._generating = group, generating

    def __getattr__(self, role: str) -> Any:
        return _Delegated(self, role) if role == ACTOR != self._generating else self._group(role)

    def __getitem__(self, role: str) -> WorkerGroup:
        return self._group(role)


class _Delegated:
    """The actor whose generation is another role's."""

    def __init__(self, roles: _Roles, role: str) -> None:
        self._roles, self._role = roles, role

    def __getattr__(self, method: str) -> Any:
        return getattr(self._roles[GENERATOR if method == "generate" else self._role], method)


def rounds_of(options: AlgorithmOptions) -> int:
    """Of generation at most in one iteration."""
    return options.maximum_rounds if isinstance(options, DapoOptions) else 1


def ranks_of(plan: Plan, role: str) -> Ranks:
    """The ranks of a role; numeric calls and services have one."""
    if role not in plan.strategies:
        return Ranks(layout=ParallelStrategy())
    strategy = plan.strategies[role]
    return Ranks(layout=strategy.layout, generate=strategy.generate)
