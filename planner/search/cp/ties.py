"""The written order of plans of equal objective.

Fewest devices; then the least microseconds of all calls together; then the least bytes of all roles,
persistent, transient and of host memory; then the least sum of fixed numbers, one for each choice, that are
as good as random, so that no two plans have the same sum for practical purposes.
"""

import zlib
from collections.abc import Iterator

from ortools.sat.python import cp_model

from planner.search.cp.program import Program, summed


def tie_keys(program: Program) -> Iterator[cp_model.LinearExprT]:
    """What is to be least, first things first."""
    yield summed(slot.devices * is_used for (_, slot), is_used in program.pools.items())
    yield program.total(lambda table: table.call_us.sum(axis=1))
    yield program.total(lambda table: table.persistent + table.transient + table.host)
    yield summed([*_pool_ranks(program), *_option_ranks(program)])


def _pool_ranks(program: Program) -> Iterator[cp_model.LinearExprT]:
    for (roles, slot), is_used in program.pools.items():
        yield rank(*roles, str(slot)) * is_used


def _option_ranks(program: Program) -> Iterator[cp_model.LinearExprT]:
    for (role, slot), used in program.options.items():
        for row, is_used in used.items():
            yield rank(role, str(slot), str(row)) * is_used


def rank(*words: str) -> int:
    """A number below 2**32 that only depends on the words."""
    return zlib.crc32("/".join(words).encode())
