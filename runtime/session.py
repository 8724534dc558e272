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
    check(plan)
    kind = device_kind()
    with ray_cluster(address, kind=kind, devices=virtual_devices(plan)):
        assignments = assign(plan, nodes_here(kind), kind)
        problems = memory_problems(plan, assignments) if kind == "cpu" else []
        if problems:
            raise PlanMismatchError("\n".join(problems))
        with processes(assignments, kind) as pools, light_process() as light:
            groups = {**pools, CONTROLLER: (light,)}
            start_roles(groups, {name: builder(name) for name in groups})
            yield Controller(plan, groups)


def start_roles(groups: Mapping[str, Sequence[Any]], builders: Mapping[str, Builder]) -> None:
    """Make each pool one process group, then make its roles; pools start side by side."""
    worlds = {name: _worlds(name, members) for name, members in groups.items()}
    _ask(groups, lambda name, rank, process: process.join.remote(worlds[name][rank]))
    _ask(groups, lambda name, rank, process: process.build.remote(builders[name]))


def _worlds(name: str, members: Sequence[Any]) -> list[World]:
    refs = {members[0].address.remote(): Origin("start", name, 0)}
    (address,) = wait_for(refs).values()
    return [World(rank, len(members), *address) for rank in range(len(members))]


def _ask(groups: Mapping[str, Sequence[Any]], ask: Callable[[str, int, Any], Any]) -> None:
    wait_for(
        {
            ask(name, rank, process): Origin("start", name, rank)
            for name, members in groups.items()
            for rank, process in enumerate(members)
        }
    )
