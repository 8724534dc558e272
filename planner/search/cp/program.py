"""The placement problem as a CP-SAT model of a plan's lower bound, which is its cost under ``stage``."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from planner.search.allocation import Slot
from planner.search.dominance import Integers
from planner.search.features import Features
from planner.search.floors import Candidates
from planner.search.problem import PoolChoice, Problem
from planner.search.strategies import Options

PoolKey = tuple[tuple[str, ...], Slot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A CP-SAT model and the meaning of its variables."""

    cp: cp_model.CpModel
    problem: Problem
    features: Features
    limit_us: int
    pools: dict[PoolKey, cp_model.IntVar]
    """Whether these roles form a pool on this slot."""
    options: dict[tuple[str, Slot], dict[int, cp_model.IntVar]]
    """Whether the role uses this option of this slot, by its number in the table."""
    us: tuple[cp_model.IntVar, ...]
    """What the plan takes of each feature."""
    cost: cp_model.IntVar
    """Microseconds of the plan."""

    def total(self, column: Callable[[Options], Integers]) -> cp_model.LinearExprT:
        """The sum over all roles of some column of their tables."""
        return summed(
            weighted(used, column(self.problem.options[role][slot]))
            for (role, slot), used in self.options.items()
        )

    def homes(self, *roles: str, node_pool: str | None = None) -> list[cp_model.IntVar]:
        """The pools that all of these roles may share, of any node pool or one."""
        return [
            is_used
            for (members, slot), is_used in self.pools.items()
            if node_pool in (None, slot.node_pool) and all(role in members for role in roles)
        ]

    def chosen(self, solver: cp_model.CpSolver) -> tuple[PoolChoice, ...]:
        """The pools that the solver's values stand for."""
        rows = {
            key: row
            for key, used in self.options.items()
            for row, is_used in used.items()
            if solver.value(is_used)
        }
        keys = [key for key, is_used in self.pools.items() if solver.value(is_used)]
        keys.sort(key=lambda key: self.problem.roles.index(key[0][0]))
        return tuple(
            PoolChoice(roles=roles, slot=slot, rows=tuple(rows[role, slot] for role in roles))
            for roles, slot in keys
        )


def write_program(features: Features, useful: Candidates, *, limit_us: int) -> Program:
    """Every plan out of the candidates whose bound is no more than the limit."""
    cp = cp_model.CpModel()
    program = Program(
        cp=cp,
        problem=features.problem,
        features=features,
        limit_us=limit_us,
        pools={key: cp.new_bool_var(f"pool {key[0]} {key[1]}") for key in useful.pools},
        options={
            (role, slot): {row: cp.new_bool_var(f"{role} {slot} {row}") for row in rows.tolist()}
            for (role, slot), rows in useful.rows.items()
        },
        us=tuple(
            cp.new_int_var(
                int(least), max(int(least), limit_us * int(features.lags.max())), f"feature {number}"
            )
            for number, least in enumerate(features.beside_us)
        ),
        cost=cp.new_int_var(0, limit_us, "cost"),
    )
    _place_roles(program)
    _share_devices(program)
    _fit_bytes(program)
    _take_time(program, useful.floor_us)
    _bound_cost(program)
    return program


def _place_roles(program: Program) -> None:
    """Each role lives in one pool and uses one option, of its pool's slot."""
    for role in program.problem.roles:
        program.cp.add_exactly_one(program.homes(role))
    for (role, slot), used in program.options.items():
        homes = [is_used for (roles, at), is_used in program.pools.items() if at == slot and role in roles]
        program.cp.add(summed(used.values()) == summed(homes))


def _share_devices(program: Program) -> None:
    """Pools take no more devices of a node pool than it has, and cost no more than the budget."""
    for node_pool, devices in program.problem.capacities.items():
        pools = {slot: 1 for _, slot in program.pools if slot.node_pool == node_pool}
        program.cp.add(_devices(program, pools) <= devices)
    budget = program.problem.budget
    if budget is not None:
        prices = {slot: budget.price[slot.node_pool] for _, slot in program.pools}
        program.cp.add(_devices(program, prices) <= budget.limit)


def _devices(program: Program, prices: dict[Slot, int]) -> cp_model.LinearExprT:
    return summed(
        prices[slot] * slot.devices * is_used
        for (_, slot), is_used in program.pools.items()
        if slot in prices
    )


def _fit_bytes(program: Program) -> None:
    """A pool's persistent bytes and the transient bytes of any one of its roles fit a device.

    So do its bytes of host memory. A pool whose greatest options fit together is not spoken of.
    """
    for (roles, slot), is_used in program.pools.items():
        tables = [program.problem.options[role][slot] for role in roles]
        both = list(zip([program.options[role, slot] for role in roles], tables, strict=True))
        room, host_room = program.problem.memory[slot.node_pool], program.problem.host_memory[slot.node_pool]
        persistent = summed(weighted(used, table.persistent) for used, table in both)
        if (
            sum(_greatest(used, table.persistent) for used, table in both)
            + max(_greatest(used, table.transient) for used, table in both)
            > room
        ):
            for used, table in both:
                needed = summed([persistent, weighted(used, table.transient)])
                program.cp.add(needed <= room).only_enforce_if(is_used)
        if sum(_greatest(used, table.host) for used, table in both) > host_room:
            host = summed(weighted(used, table.host) for used, table in both)
            program.cp.add(host <= host_room).only_enforce_if(is_used)


def _greatest(used: dict[int, cp_model.IntVar], values: Integers) -> int:
    return max((int(values[row]) for row in used), default=0)


def _take_time(program: Program, fastest: Sequence[Integers]) -> None:
    """A feature lasts at least as long as the calls in it of any one pool.

    Redundant but far stronger in the linear relaxation: at least as long as the calls of any role, and as the
    fastest options of the pool that any role lives in.
    """
    us = {(role, slot): program.features.us(role, slot) for role, slot in program.options}
    for feature in np.flatnonzero(program.features.sums.any(axis=0)).tolist():
        total = program.us[feature]
        busy = {key: weighted(used, us[key][:, feature]) for key, used in program.options.items()}
        for (roles, slot), is_used in program.pools.items():
            if len(roles) > 1:
                program.cp.add(total >= summed(busy[role, slot] for role in roles)).only_enforce_if(is_used)
        for role in program.problem.roles:
            program.cp.add(total >= summed(own for (name, _), own in busy.items() if name == role))
            program.cp.add(
                total
                >= summed(
                    int(least[feature]) * is_used
                    for ((roles, _), is_used), least in zip(program.pools.items(), fastest, strict=True)
                    if role in roles
                )
            )


def _bound_cost(program: Program) -> None:
    """The cost is no less than any of the features' bounds, crossings between node pools included."""
    features = program.features
    apart = {pair: lie_apart(program, *pair) for pair in features.crossings}
    for bound, (row, lag) in enumerate(zip(features.sums, features.lags, strict=True)):
        terms = [total for total, counts in zip(program.us, row, strict=True) if counts]
        crossing = [int(us[bound]) * apart[pair] for pair, us in features.crossings.items()]
        program.cp.add(int(lag) * program.cost >= summed([*terms, *crossing]))


def lie_apart(program: Program, one: str, other: str) -> cp_model.IntVar:
    """A variable that is true where two roles live in different node pools."""
    apart = program.cp.new_bool_var(f"{one} and {other} apart")
    for node_pool in program.problem.capacities:
        here = program.homes(one, node_pool=node_pool)
        there = program.homes(other, node_pool=node_pool)
        program.cp.add(summed([apart, *there]) >= summed(here))
    return apart


def weighted(used: dict[int, cp_model.IntVar], values: Integers) -> cp_model.LinearExprT:
    """The value of the option used; 0 where none is."""
    return cp_model.LinearExpr.weighted_sum(list(used.values()), [int(values[row]) for row in used])


def summed(terms: Iterable[cp_model.LinearExprT]) -> cp_model.LinearExprT:
    """Their sum, also of none."""
    return cp_model.LinearExpr.sum(list(terms))
