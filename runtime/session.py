"""The processes of a run: started, joined into process groups, given their roles, and cleaned up after."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

from planner.domain.dataflow import CONTROLLER
from planner.domain.grouping import generation_groups
from planner.domain.plan import Plan, Pool
from runtime.controller import Controller
from runtime.engines.limits import refuse
from runtime.engines.settings import generation_settings
from runtime.platform import DeviceKind, device_kind
from runtime.requirements import check, memory_problems, virtual_devices
from runtime.resource_pool import (
    Assignment,
    Node,
    assign,
    light_process,
    nodes_for,
    processes,
    ray_cluster,
)
from runtime.watch import Origin, wait_for
from runtime.workers.call import Role
from runtime.workers.host import World

Builder = Callable[[], Mapping[str, Role]]
"""Makes the roles of a process, inside it."""

Groups = Mapping[str, Sequence[Any]]
"""Handles of the processes by pool, in rank order; that of the numeric calls under `CONTROLLER`, those of
services under the names of their roles."""


class KeptProcesses:
    """Processes that stay alive between a profile and a run, so that both start them only once.

    A plan with other pools than the one before gets new ones, and so does one with generation engines that
    can't be built beside those in the processes. Leaving the context ends them.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._shape: Any = None
        self._nodes: Sequence[Node] = ()
        self._groups: Groups = {}

    def groups(self, plan: Plan, *, address: str | None) -> Groups:
        """Processes of the plan's pools: if they fit those at hand, in the very mapping, else new ones.

        Raises
        ------
        PlanMismatchError
            When the cluster can't hold the plan.
        """
        kind = device_kind()
        pools = [(pool.name, pool.devices, engines_of(plan, pool, kind)) for pool in plan.pools]
        shape = (address, pools, [*plan.scenario.services])
        if shape != self._shape:
            self._stack.close()
            self._shape = None
            self._nodes, self._groups = self._stack.enter_context(started(plan, address=address))
            self._shape = shape
        else:
            places(plan, self._nodes, kind)
        return self._groups

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def engines_of(plan: Plan, pool: Pool, kind: DeviceKind) -> list[object]:
    """What must be equal in two plans for one process of the pool to hold the generation engines of both.

    vLLM makes its process groups once per process. On CUDA its memory pool serves one engine as well, so
    there it is all that tells engines apart.
    """
    found = [made for role in pool.roles if (made := generation_settings(plan, role)) is not None]
    if kind == "cuda":
        return [*found]
    return [generation_groups(made.train, made.generate, "zero-redundancy") for made in found]


@contextmanager
def session(
    plan: Plan,
    builder: Callable[[str], Builder],
    *,
    address: str | None = None,
    kept: KeptProcesses | None = None,
) -> Iterator[Controller]:
    """A controller of started processes; on leaving, however that happens, nothing of them is left behind.

    Parameters
    ----------
    builder
        For a pool's name or `CONTROLLER`, what makes the roles of its processes.
    kept
        Where to take the processes from; they outlive the session then.

    Raises
    ------
    PlanMismatchError
        When the runtime or the cluster can't hold the plan.
    WorkerError
        When a worker fails to start.
    """
    check(plan)
    with nullcontext(kept) if kept else KeptProcesses() as processes:
        groups = processes.groups(plan, address=address)
        build_roles({name: (members, builder(name)) for name, members in groups.items()})
        yield Controller(plan, groups)


@contextmanager
def started(plan: Plan, *, address: str | None = None) -> Iterator[tuple[Sequence[Node], Groups]]:
    """Processes of the plan's pools, each pool one process group, without roles yet; and the nodes before."""
    kind = device_kind()
    with ray_cluster(address, kind=kind, devices=virtual_devices(plan)):
        nodes = nodes_for(plan, kind)
        assignments = places(plan, nodes, kind)
        with ExitStack() as stack:
            pools = stack.enter_context(processes(assignments, kind))
            light = (CONTROLLER, *plan.scenario.services)
            groups = {**pools, **{name: (stack.enter_context(light_process()),) for name in light}}
            join_groups(groups)
            yield nodes, groups


def places(plan: Plan, nodes: Sequence[Node], kind: DeviceKind) -> tuple[Assignment, ...]:
    """The nodes of each pool, with memory enough for its processes.

    Raises
    ------
    PlanMismatchError
        When the nodes have too few devices, or CPU nodes too little memory.
    """
    assignments = assign(plan, nodes, kind)
    if kind == "cpu":
        refuse(memory_problems(plan, assignments))
    return assignments


def join_groups(groups: Groups) -> None:
    """Make each pool one process group; pools start side by side."""
    worlds = {name: _worlds(name, members) for name, members in groups.items()}
    wait_for(
        {
            process.join.remote(worlds[name][rank]): Origin("start", name, rank)
            for name, members in groups.items()
            for rank, process in enumerate(members)
        }
    )


def build_roles(builders: Mapping[str, tuple[Sequence[Any], Builder]], *, kept: Collection[str] = ()) -> None:
    """Make roles in the processes of some pools, beside those that are kept, in the place of others."""
    wait_for(
        {
            process.build.remote(builder, kept=kept): Origin("start", name, rank)
            for name, (members, builder) in builders.items()
            for rank, process in enumerate(members)
        }
    )


def _worlds(name: str, members: Sequence[Any]) -> list[World]:
    refs = {members[0].address.remote(): Origin("start", name, 0)}
    (address,) = wait_for(refs).values()
    return [World(rank, len(members), *address) for rank in range(len(members))]
