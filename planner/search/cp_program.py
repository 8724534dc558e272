"""The placement problem as a CP-SAT model."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ortools.sat.python import cp_model

from planner.domain.placement import Placement
from planner.search.allocation import Slot
from planner.search.dominance import Integers
from planner.search.floors import Candidates
from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.strategies import Options

PoolKey = tuple[tuple[str, ...], Slot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A CP-SAT model and the meaning of its variables."""

    cp: cp_model.CpModel
    problem: Problem
    pools: dict[PoolKey, cp_model.IntVar]
    """Whether these roles form a pool on this slot."""
    options: dict[tuple[str, Slot], dict[int, cp_model.IntVar]]
    """Whether the role uses this option of this slot, by its number in the table."""
    stages: tuple[cp_model.IntVar, ...]
    """Microseconds of each stage."""

    def total(self, column: Callable[[Options], Integers]) -> cp_model.LinearExprT:
        """The sum over all roles of some column of their tables."""
        return _sum(
            _weighted(used, column(self.problem.options[role][slot]))
            for (role, slot), used in self.options.items()
        )

    def solution(self, solver: cp_model.CpSolver) -> Solution:
        """The plan that the solver's values stand for."""
        rows = {
            key: row
            for key, used in self.options.items()
            for row, is_used in used.items()
            if solver.value(is_used)
        }
        chosen = [key for key, is_used in self.pools.items() if solver.value(is_used)]
        chosen.sort(key=lambda key: self.problem.roles.index(key[0][0]))
        pools = tuple(
            PoolChoice(roles=roles, slot=slot, rows=tuple(rows[role, slot] for role in roles))
            for roles, slot in chosen
        )
        return Solution.of(self.problem, pools)


def write_program(
    problem: Problem, useful: Candidates, *, limit_us: int, excluded: Collection[Placement]
) -> Program:
    """Every plan out of the candidates that costs no more than the limit and has no excluded placement."""
    cp = cp_model.CpModel()
    program = Program(
        cp=cp,
        problem=problem,
        pools={key: cp.new_bool_var(f"pool {key[0]} {key[1]}") for key in useful.pools},
        options={
            (role, slot): {row: cp.new_bool_var(f"{role} {slot} {row}") for row in rows.tolist()}
            for (role, slot), rows in useful.rows.items()
        },
        stages=tuple(cp.new_int_var(0, limit_us, f"stage {stage}") for stage in range(problem.stages)),
    )
    _place_roles(program)
    _share_devices(program)
    _fit_memory(program)
    _take_time(program, useful)
    cp.add(_sum(program.stages) <= limit_us)
    for placement in excluded:
        used = [is_used for (roles, _), is_used in program.pools.items() if roles in placement]
        cp.add(_sum(used) <= len(placement) - 1)
    return program


def _place_roles(program: Program) -> None:
    """Each role lives in one pool and uses one option, of its pool's slot."""
    for role in program.problem.roles:
        program.cp.add_exactly_one(is_used for (roles, _), is_used in program.pools.items() if role in roles)
    for (role, slot), used in program.options.items():
        homes = [is_used for (roles, at), is_used in program.pools.items() if at == slot and role in roles]
        program.cp.add(_sum(used.values()) == _sum(homes))


def _share_devices(program: Program) -> None:
    """Pools take no more devices of a node pool than it has."""
    for node_pool, devices in program.problem.capacities.items():
        taken = [
            slot.devices * is_used
            for (_, slot), is_used in program.pools.items()
            if slot.node_pool == node_pool
        ]
        program.cp.add(_sum(taken) <= devices)


def _fit_memory(program: Program) -> None:
    """A pool's persistent bytes and the transient bytes of any one of its roles fit a device."""
    for (roles, slot), is_used in program.pools.items():
        tables = [program.problem.options[role][slot] for role in roles]
        used = [program.options[role, slot] for role in roles]
        both = list(zip(used, tables, strict=True))
        persistent = _sum(_weighted(options, table.persistent) for options, table in both)
        for options, table in both:
            needed = _sum([persistent, _weighted(options, table.transient)])
            fits = program.cp.add(needed <= program.problem.memory[slot.node_pool])
            fits.only_enforce_if(is_used)


def _take_time(program: Program, useful: Candidates) -> None:
    """A stage lasts at least as long as the calls in it of any one pool.

    Redundant but far stronger in the linear relaxation: at least as long as the calls of any role, and as the
    fastest options of the pool that any role lives in.
    """
    for stage, total in enumerate(program.stages):
        busy = {
            (role, slot): _weighted(used, program.problem.stage_us(role, slot)[:, stage])
            for (role, slot), used in program.options.items()
        }
        for (roles, slot), is_used in program.pools.items():
            program.cp.add(total >= _sum(busy[role, slot] for role in roles)).only_enforce_if(is_used)
        fastest = [int(floor[stage]) for floor in useful.floor_us]
        for role in program.problem.roles:
            program.cp.add(total >= _sum(own for (name, _), own in busy.items() if name == role))
            homes = zip(program.pools.items(), fastest, strict=True)
            program.cp.add(
                total >= _sum(us * is_used for ((roles, _), is_used), us in homes if role in roles)
            )


def _weighted(used: dict[int, cp_model.IntVar], values: Integers) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.weighted_sum(list(used.values()), [int(values[row]) for row in used])


def _sum(terms: Iterable[cp_model.LinearExprT]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.sum(list(terms))
