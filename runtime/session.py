"""The processes of a run: started, joined into process groups, given their roles, and cleaned up after."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from planner.domain.dataflow import CONTROLLER
from planner.domain.plan import Plan
from planner.errors import PlanMismatchError
from runtime.controller import Controller
from runtime.platform import device_kind
from runtime.requirements import check, memory_problems, virtual_devices
from runtime.resource_pool import assign, light_process, nodes_here, processes, ray_cluster
from runtime.watch import Origin, wait_for
from runtime.workers.call import Role
from runtime.workers.host import World

Builder = Callable[[], Mapping[str, Role]]
"""Makes the roles of a process, inside it."""

Groups = Mapping[str, Sequence[Any]]
"""Handles of the processes by pool, in rank order; that of the numeric calls under `CONTROLLER`."""


@contextmanager
def session(
    plan: Plan, builder: Callable[[str], Builder], *, address: str | None = None
) -> Iterator[Controller]:
    """A controller of started processes; on leaving, however that happens, nothing of them is left behind.

    Parameters
    ----------
    builder
        For a pool's name or `CONTROLLER`, what makes the roles of its processes.

    Raises
    ------
    PlanMismatchError
        When the runtime or the cluster can't hold the plan.
    WorkerError
        When a worker fails to start.
    """
    with started(plan, address=address) as groups:
        build_roles({name: (members, builder(name)) for name, members in groups.items()})
        yield Controller(plan, groups)


@contextmanager
def started(plan: Plan, *, address: str | None = None) -> Iterator[Groups]:
    """Processes of the plan's pools, each pool one process group, without roles yet."""
    check(plan)
    kind = device_kind()
    with ray_cluster(address, kind=kind, devices=virtual_devices(plan)):
        assignments = assign(plan, nodes_here(kind), kind)
        problems = memory_problems(plan, assignments) if kind == "cpu" else []
        if problems:
            raise PlanMismatchError("\n".join(problems))
        with processes(assignments, kind) as pools, light_process() as light:
            groups = {**pools, CONTROLLER: (light,)}
            join_groups(groups)
            yield groups


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


def build_roles(builders: Mapping[str, tuple[Sequence[Any], Builder]]) -> None:
    """Make roles in the processes of some pools, beside those they have or in their place."""
    wait_for(
        {
            process.build.remote(builder): Origin("start", name, rank)
            for name, (members, builder) in builders.items()
            for rank, process in enumerate(members)
        }
    )


def _worlds(name: str, members: Sequence[Any]) -> list[World]:
    refs = {members[0].address.remote(): Origin("start", name, 0)}
    (address,) = wait_for(refs).values()
    return [World(rank, len(members), *address) for rank in range(len(members))]
