"""Problems small enough to solve by hand, and the rules that any plan of a problem keeps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from planner.domain.placement import placements
from planner.search.bounds.resources import Resources
from planner.search.options.table import Options
from planner.search.problem import ENDLESS, Call, PoolChoice, Problem, Solution, Wait
from planner.search.problem.allocation import Slot, enumerate_allocations
from planner.search.schedules.evaluation import evaluate

Waits = Sequence[tuple[int, int, int]]
"""Source, target, lag."""


@dataclass(frozen=True)
class Option:
    """Microseconds of each call of a role, and bytes."""

    us: tuple[int, ...]
    persistent: int = 0
    transient: int = 0
    host: int = 0


def takes(*us: int, **size: int) -> Option:
    """An option of these microseconds, and of no bytes but those given."""
    return Option(us, **size)


def table(*options: Option) -> Options:
    """Options as they are: none is dropped."""

    def column(name: str) -> Any:
        return np.array([getattr(each, name) for each in options], dtype=np.int64)

    return Options(
        strategies=tuple(range(len(options))),
        call_us=column("us"),
        persistent=column("persistent"),
        transient=column("transient"),
        host=column("host"),
    )


def problem_of(
    calls: Sequence[tuple[str | None, int]],
    options: Mapping[str, Mapping[int | tuple[str, int], Sequence[Option]]],
    *,
    waits: Waits = (),
    devices: int | dict[str, int] = 4,
    crossing_us: int = 0,
    service_us: int = 0,
    **changes: Any,
) -> Problem:
    """A problem with devices of 100 bytes.

    Parameters
    ----------
    calls
        (role, stage) of each call; calls without a role take ``service_us``.
    options
        By role and slot; a slot of the node pool ``a`` is named by its devices.
    devices
        Of the node pool ``a``, or of each.
    """
    roles, capacities = tuple(options), devices if isinstance(devices, dict) else {"a": devices}
    given: dict[str, Any] = {
        "roles": roles,
        "stages": 1 + max((stage for _, stage in calls), default=0),
        "calls": tuple(
            Call(
                name=f"{role or 'service'}#{number}",
                role=None if role is None else roles.index(role),
                stage=stage,
                us=0 if role else service_us,
            )
            for number, (role, stage) in enumerate(calls)
        ),
        "waits": tuple(
            Wait(source=source, target=target, lag=lag, crossing_us=crossing_us)
            for source, target, lag in waits
        ),
        "options": {
            role: {slot(key): table(*rows) for key, rows in by_slot.items()}
            for role, by_slot in options.items()
        },
        "capacities": capacities,
        "memory": dict.fromkeys(capacities, 100),
        "host_memory": dict.fromkeys(capacities, ENDLESS),
        "time_model": "stage",
    }
    return Problem(**given | changes)


def slot(key: int | tuple[str, int]) -> Slot:
    """So many devices of the node pool ``a``, or of the one named."""
    return Slot("a", key) if isinstance(key, int) else Slot(*key)


def pool(roles: str, at: int | tuple[str, int], *rows: int) -> PoolChoice:
    """A pool of the roles (``A B``) with these options, the first of each by default."""
    names = tuple(roles.split())
    return PoolChoice(roles=names, slot=slot(at), rows=rows or (0,) * len(names))


def fitting_rows(problem: Problem, roles: Sequence[str], where: Slot) -> Any:
    """All combinations of the roles' options on a slot that fit a device and its part of the host.

    Returns
    -------
    Numbers of the options, shape (combinations, roles).
    """
    tables = [problem.options[role][where] for role in roles]
    rows = np.indices([len(table) for table in tables]).reshape(len(roles), -1)
    both = list(zip(tables, rows, strict=True))
    persistent = sum(table.persistent[row] for table, row in both)
    transient = np.max([table.transient[row] for table, row in both], axis=0)
    host = sum(table.host[row] for table, row in both)
    fits = persistent + transient <= problem.memory[where.node_pool]
    return rows.T[fits & (host <= problem.host_memory[where.node_pool])]


def every_plan(problem: Problem) -> Iterator[Solution]:
    """All plans, one by one."""
    for placement in placements(problem.roles):
        if all(map(problem.may_share, placement)):
            choices = [problem.slots(roles) for roles in placement]
            for slots in enumerate_allocations(choices, problem.capacities):
                both = list(zip(placement, slots, strict=True))
                for rows in product(*(fitting_rows(problem, *each).tolist() for each in both)):
                    yield evaluate(
                        problem,
                        [
                            PoolChoice(roles=roles, slot=at, rows=tuple(own))
                            for (roles, at), own in zip(both, rows, strict=True)
                        ],
                    )


def assert_sound(problem: Problem, pools: Sequence[PoolChoice]) -> None:
    """Roles, bytes, devices and demands of a plan, by their definitions."""
    assert sorted(role for each in pools for role in each.roles) == sorted(problem.roles)
    assert Resources.of(problem).fit([each.slot for each in pools])
    for each in pools:
        assert problem.may_share(each.roles)
        assert each.rows in set(map(tuple, fitting_rows(problem, each.roles, each.slot).tolist()))
