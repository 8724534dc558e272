"""The placement problem as a CP-SAT model of a plan's lower bound, which is its cost under ``stage``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ortools.sat.python import cp_model

from planner.search.arrays import Integers
from planner.search.bounds.floors import Floors, bit_set
from planner.search.bounds.front import Front
from planner.search.problem import PoolChoice, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A CP-SAT model and the meaning of its variables.

    One boolean says whether a set of roles forms a pool on a certain slot with certain options. Each role is
    in exactly one pool, so what a role's pool is or takes is a plain sum, without any condition.
    """

    cp: cp_model.CpModel
    floors: Floors
    limit_us: int
    fronts: Mapping[int, Front]
    """By set of roles."""
    pools: dict[int, list[cp_model.IntVar]]
    """Whether each combination of each front is a pool of the plan."""
    us: dict[int, cp_model.IntVar]
    """What the plan takes of each feature that bounds it."""
    cost: cp_model.IntVar
    """Microseconds of the plan."""

    @property
    def problem(self) -> Problem:
        return self.floors.problem

    def total(self, values: Mapping[int, Integers], *, roles: int = 0) -> cp_model.LinearExpr:
        """The sum of some value over the plan's pools with all of these roles.

        Parameters
        ----------
        values
            By set of roles, one for each combination.
        roles
            Bit set; any pool has none of them.
        """
        variables: list[cp_model.IntVar] = []
        weights: list[int] = []
        for members, pools in self.pools.items():
            if members & roles == roles:
                variables += pools
                weights += values[members].tolist()
        return cp_model.LinearExpr.weighted_sum(variables, weights)

    def ones(self) -> dict[int, Integers]:
        """One for each combination."""
        return {roles: np.ones(len(front), dtype=np.int64) for roles, front in self.fronts.items()}

    def by_slot(self, values: Integers) -> dict[int, Integers]:
        """What each combination's slot has, out of one value for each slot."""
        return {roles: values[front.at] for roles, front in self.fronts.items()}

    def chosen(self, solver: cp_model.CpSolver) -> tuple[PoolChoice, ...]:
        """The pools that the solver's values stand for."""
        return tuple(
            front.choice(row, self.floors.resources.slots)
            for roles, front in self.fronts.items()
            for row, is_used in enumerate(self.pools[roles])
            if solver.value(is_used)
        )


def write_program(floors: Floors, fronts: Mapping[int, Front], *, limit_us: int) -> Program:
    """Every plan out of these combinations whose bound is no more than the limit."""
    cp = cp_model.CpModel()
    greatest = limit_us * int(floors.features.lags.max())
    program = Program(
        cp=cp,
        floors=floors,
        limit_us=limit_us,
        fronts=fronts,
        pools={
            roles: [cp.new_bool_var(f"{roles} {row}") for row in range(len(front))]
            for roles, front in fronts.items()
        },
        us={
            feature: cp.new_int_var(0, greatest, f"feature {feature}")
            for feature in np.flatnonzero(floors.features.sums.any(axis=0)).tolist()
        },
        cost=cp.new_int_var(0, limit_us, "cost"),
    )
    _place_roles(program)
    _share_resources(program)
    _take_time(program)
    _bound_cost(program)
    return program


def _place_roles(program: Program) -> None:
    """Each role lives in one pool."""
    for number in range(len(program.problem.roles)):
        program.cp.add_exactly_one(
            is_used for roles, pools in program.pools.items() if roles >> number & 1 for is_used in pools
        )


def _share_resources(program: Program) -> None:
    """Pools take no more devices of a node pool than it has, and cost no more than the budget."""
    resources = program.floors.resources
    for taken, there in zip(resources.taken.T, resources.there, strict=True):
        program.cp.add(program.total(program.by_slot(taken)) <= int(there))


def _take_time(program: Program) -> None:
    """A feature lasts at least as long as the calls in it of the pool of any role."""
    features = program.floors.features
    for feature, total in program.us.items():
        program.cp.add(total >= int(features.beside_us[feature]))
        us = {roles: front.us[:, feature] for roles, front in program.fronts.items()}
        for number in range(len(program.problem.roles)):
            program.cp.add(total >= program.total(us, roles=1 << number))


def _bound_cost(program: Program) -> None:
    """The cost is no less than any of the features' bounds, crossings and loads of links included."""
    features = program.floors.features
    apart = {pair: lie_apart(program, *pair) for pair in features.crossings}
    for bound, (row, lag) in enumerate(zip(features.sums, features.lags, strict=True)):
        terms = [program.us[feature] for feature in np.flatnonzero(row).tolist()]
        crossing = [int(us[bound]) * apart[pair] for pair, us in features.crossings.items()]
        program.cp.add(int(lag) * program.cost >= summed([*terms, *crossing]))
    for here, there in permutations(program.problem.capacities, 2):
        loads = [us * crosses(program, *pair, here, there) for pair, us in features.loads.items()]
        if loads:
            program.cp.add(program.cost >= summed(loads))


def crosses(program: Program, source: str, target: str, here: str, there: str) -> cp_model.IntVar:
    """A variable that is true where a role lives in one node pool and another one in another."""
    variable = program.cp.new_bool_var(f"{source} in {here} and {target} in {there}")
    lives = [_lives(program, source, here), _lives(program, target, there)]
    program.cp.add(variable + 1 >= summed(lives))
    return variable


def lie_apart(program: Program, one: str, other: str) -> cp_model.IntVar:
    """A variable that is true where two roles live in different node pools."""
    apart = program.cp.new_bool_var(f"{one} and {other} apart")
    for node_pool in program.problem.capacities:
        program.cp.add(apart + _lives(program, other, node_pool) >= _lives(program, one, node_pool))
    return apart


def _lives(program: Program, role: str, node_pool: str) -> cp_model.LinearExpr:
    """1 where a role's pool lies in a node pool, else 0."""
    slots = program.floors.resources.slots
    inside = program.by_slot(np.array([slot.node_pool == node_pool for slot in slots], dtype=np.int64))
    return program.total(inside, roles=bit_set(program.problem, [role]))


def summed(terms: Iterable[cp_model.LinearExprT]) -> cp_model.LinearExprT:
    """Their sum, also of none."""
    return cp_model.LinearExpr.sum(list(terms))
