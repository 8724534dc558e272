"""Good plans quickly: the upper bounds that let the exact search drop most of the table first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.domain.placement import Placement
from planner.search.dominance import Integers
from planner.search.floors import Floors
from planner.search.fronts import Front, pool_fronts
from planner.search.problem import PoolChoice, Problem, Solution

FRONT_WIDTH = 16
"""Combinations kept of each set of roles and slot."""
BEAM_WIDTH = 48
"""Partial plans kept of each set of roles that they place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Every way to add a pool, one per row."""

    fronts: tuple[Front, ...]
    front: Integers
    """Number of the front, shape (ways,)."""
    row: Integers
    """Row in that front, shape (ways,)."""
    placed: Integers
    """Bit set of the roles, shape (ways,)."""
    devices: Integers
    """Devices taken of each node pool, shape (ways, node pools)."""
    stage_us: Integers
    """Shape (ways, stages)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """Partial plans that place the same roles."""

    chosen: Integers
    """Column of the pool whose first role is the one at this position, else -1; shape (plans, roles)."""
    left: Integers
    """Devices still free, shape (plans, node pools)."""
    stage_us: Integers
    """Shape (plans, stages)."""


def quick_solutions(problem: Problem, floors: Floors) -> dict[Placement, Solution]:
    """The best plan found of each placement for which one was found, best placement first.

    Pools are added one at a time, always with the first role not yet placed. Of the partial plans that place
    the same roles the most promising go on: those whose stages, raised to what the missing roles take at
    least on the devices left, add up to the least.
    """
    columns = _columns(problem)
    count = len(problem.roles)
    start = Beam(
        chosen=np.full((1, count), -1, dtype=np.int64),
        left=np.array([list(problem.capacities.values())], dtype=np.int64),
        stage_us=np.zeros((1, problem.stages), dtype=np.int64),
    )
    reached: dict[int, list[Beam]] = {0: [start]}
    everything = 2**count - 1
    for placed in range(everything):
        if placed in reached:
            beam = _narrowed(_joined(reached.pop(placed)), placed, floors)
            for grown, extended in _extensions(beam, placed, columns, count):
                reached.setdefault(grown, []).append(extended)
    return _best_of_each_placement(problem, columns, reached.get(everything, []))


def _columns(problem: Problem) -> Columns:
    fronts = tuple(pool_fronts(problem, width=FRONT_WIDTH))
    sizes = [len(front) for front in fronts]
    node_pools = list(problem.capacities)
    placed = [sum(1 << problem.roles.index(role) for role in front.roles) for front in fronts]
    devices = np.zeros((len(fronts), len(node_pools)), dtype=np.int64)
    for number, front in enumerate(fronts):
        devices[number, node_pools.index(front.slot.node_pool)] = front.slot.devices
    empty = np.zeros((0, problem.stages), dtype=np.int64)
    return Columns(
        fronts=fronts,
        front=np.repeat(np.arange(len(fronts)), sizes),
        row=np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(size) for size in sizes)]),
        placed=np.repeat(np.array(placed, dtype=np.int64), sizes),
        devices=np.repeat(devices, sizes, axis=0),
        stage_us=np.concatenate([empty, *(front.stage_us for front in fronts)]),
    )


def _joined(beams: Sequence[Beam]) -> Beam:
    return Beam(
        chosen=np.concatenate([beam.chosen for beam in beams]),
        left=np.concatenate([beam.left for beam in beams]),
        stage_us=np.concatenate([beam.stage_us for beam in beams]),
    )


def _narrowed(beam: Beam, placed: int, floors: Floors) -> Beam:
    cost = np.maximum(beam.stage_us, floors.of_missing(placed, beam.left)).sum(axis=1)
    kept = np.argsort(cost, kind="stable")[:BEAM_WIDTH]
    return Beam(chosen=beam.chosen[kept], left=beam.left[kept], stage_us=beam.stage_us[kept])


def _extensions(beam: Beam, placed: int, columns: Columns, roles: int) -> list[tuple[int, Beam]]:
    """Each partial plan with each pool that its devices allow, by the roles then placed."""
    first = next(index for index in range(roles) if not placed >> index & 1)
    usable = (columns.placed & placed == 0) & (columns.placed & (2 ** (first + 1) - 1) == 1 << first)
    extended: list[tuple[int, Beam]] = []
    for added in np.unique(columns.placed[usable]).tolist():
        ways = np.flatnonzero(columns.placed == added)
        left = beam.left[:, None] - columns.devices[ways]
        plan, way = np.nonzero((left >= 0).all(axis=2))
        chosen = beam.chosen[plan]
        chosen[:, first] = ways[way]
        stage_us = np.maximum(beam.stage_us[plan], columns.stage_us[ways[way]])
        extended.append((placed | added, Beam(chosen=chosen, left=left[plan, way], stage_us=stage_us)))
    return extended


def _best_of_each_placement(
    problem: Problem, columns: Columns, beams: Sequence[Beam]
) -> dict[Placement, Solution]:
    best: dict[Placement, Solution] = {}
    for beam in beams:
        sets = np.where(beam.chosen < 0, 0, columns.placed[beam.chosen])
        _, group = np.unique(sets, axis=0, return_inverse=True)
        cost = beam.stage_us.sum(axis=1)
        for number in range(int(group.max(initial=-1)) + 1):
            members = np.flatnonzero(group == number)
            plan = int(members[cost[members].argmin()])
            solution = _solution(columns, beam.chosen[plan], int(cost[plan]))
            known = best.get(solution.placement)
            if known is None or solution.objective_us < known.objective_us:
                best[solution.placement] = solution
    return dict(sorted(best.items(), key=lambda item: item[1].objective_us))


def _solution(columns: Columns, chosen: Integers, cost: int) -> Solution:
    pools: list[PoolChoice] = []
    for column in chosen[chosen >= 0].tolist():
        front = columns.fronts[columns.front[column]]
        rows = front.rows[columns.row[column]].tolist()
        pools.append(PoolChoice(roles=front.roles, slot=front.slot, rows=tuple(rows)))
    return Solution(pools=tuple(pools), objective_us=cost)
