"""The written order of plans of equal objective.

Fewest devices; then the least microseconds of all calls together; then the least bytes of all roles,
persistent, transient and of host memory; then the least sum of fixed numbers, one for each choice, that are
as good as random, so that no two plans have the same sum for practical purposes.
"""

import zlib
from collections.abc import Iterator

import numpy as np
from ortools.sat.python import cp_model

from planner.search.arrays import Integers
from planner.search.solvers.cp.program import Program

KEYS = 4
"""Of the written order."""


def tie_keys(program: Program) -> Iterator[cp_model.LinearExpr]:
    """What is to be least, first things first."""
    yield device_count(program)
    yield program.total({roles: front.busy_us for roles, front in program.fronts.items()})
    yield program.total({roles: front.bytes for roles, front in program.fronts.items()})
    yield program.total(_ranks(program))


def device_count(program: Program) -> cp_model.LinearExpr:
    """Devices of all pools together."""
    devices = np.array([slot.devices for slot in program.floors.resources.slots], dtype=np.int64)
    return program.total(program.by_slot(devices))


def _ranks(program: Program) -> dict[int, Integers]:
    """Numbers that only depend on the roles, the slot and the options, below 2**32."""
    slots = program.floors.resources.slots
    return {
        roles: np.array(
            [
                zlib.crc32(f"{front.roles} {slots[at]} {rows}".encode())
                for at, rows in zip(front.at.tolist(), front.rows.tolist(), strict=True)
            ],
            dtype=np.int64,
        )
        for roles, front in program.fronts.items()
    }
