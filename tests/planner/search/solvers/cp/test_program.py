"""The CP-SAT model of a plan's lower bound."""

from dataclasses import replace

import numpy as np
import pytest
from ortools.sat.python import cp_model

from planner.search.bounds.floors import Floors
from planner.search.bounds.fronts import Fronts
from planner.search.problem import Budget, PoolChoice, Problem
from planner.search.solvers.cp.program import Program, write_program
from tests.planner.search.by_hand import pool, problem_of, slot, takes


def program_of(problem: Problem, limit_us: int = 100) -> Program:
    """With every combination of every set."""
    floors = Floors.of(problem)
    made = Fronts(floors=floors, compared=floors.features)
    sets = np.flatnonzero(floors.pools.alive.any(axis=1)).tolist()
    fronts = {roles: made.of(roles, floors.pools.alive[roles]) for roles in sets}
    return write_program(floors, fronts, limit_us=limit_us)


def least(program: Program) -> tuple[int, set[PoolChoice]] | None:
    """The least cost and its pools; none where there is no plan."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers, solver.parameters.cp_model_presolve = 1, False
    program.cp.minimize(program.cost)
    if solver.solve(program.cp) == cp_model.INFEASIBLE:
        return None
    return round(solver.objective_value), set(program.chosen(solver))


def two_roles(devices: int = 4, **changes: object) -> Problem:
    """Side by side A takes 8 or on two devices 5, B takes 6 or on two 4."""
    us = {"A": {1: 8, 2: 5}, "B": {1: 6, 2: 4}}
    options = {
        role: {count: [takes(us)] for count, us in by_count.items() if count <= devices}
        for role, by_count in us.items()
    }
    return problem_of([("A", 0), ("B", 0)], options, devices=devices, **changes)


@pytest.mark.parametrize(
    ("devices", "cost", "pools"),
    [
        (4, 5, {pool("A", 2), pool("B", 2)}),
        (3, 6, {pool("A", 2), pool("B", 1)}),
        (2, 8, {pool("A", 1), pool("B", 1)}),
        (1, 14, {pool("A B", 1)}),
    ],
)
def test_roles_share_the_devices_as_is_fastest(devices: int, cost: int, pools: set[PoolChoice]) -> None:
    assert least(program_of(two_roles(devices=devices))) == (cost, pools)


def test_a_budget_leaves_fewer_devices() -> None:
    assert least(program_of(two_roles(budget=Budget(price={"a": 2}, limit=7)))) == (
        6,
        {pool("A", 2), pool("B", 1)},
    )


def test_roles_that_must_share_do() -> None:
    assert least(program_of(two_roles(together=(frozenset("AB"),)))) == (9, {pool("A B", 2)})


@pytest.mark.parametrize(("limit_us", "there_is"), [(5, True), (4, False)])
def test_no_plan_above_the_limit_is_one(limit_us: int, there_is: bool) -> None:
    assert (least(program_of(two_roles(), limit_us)) is not None) is there_is


@pytest.mark.parametrize(("crossing_us", "cost"), [(1, 10), (10, 10), (11, 11), (13, 12)])
def test_what_crosses_a_link_in_one_direction_is_within_the_cost(crossing_us: int, cost: int) -> None:
    """A feeds B twice, 10 and half the crossings; in one pool the three calls take 12."""
    options = {"A": {1: [takes(10)]}, "B": {1: [takes(1, 1)], ("b", 1): [takes(1, 1)]}}
    problem = problem_of(
        [("A", 0), ("B", 0), ("B", 0)],
        options,
        waits=[(0, 1, 0), (0, 2, 0)],
        devices={"a": 1, "b": 1},
        time_model="period",
    )
    halves = (crossing_us // 2, crossing_us - crossing_us // 2)
    waits = tuple(replace(wait, crossing_us=half) for wait, half in zip(problem.waits, halves, strict=True))
    found = least(program_of(replace(problem, waits=waits)))
    assert found is not None
    assert found[0] == cost
    assert (len(found[1]) == 1) is (crossing_us == 13)


def test_a_service_takes_its_time_beside_the_pools() -> None:
    problem = problem_of([("A", 0), (None, 0)], {"A": {1: [takes(8)]}}, service_us=9)
    assert least(program_of(problem)) == (9, {pool("A", 1)})


def test_half_a_circle_of_two_iterations_is_rounded_up() -> None:
    """A circle of 5 + 4 over two iterations; both in one pool take 9."""
    options = {"A": {1: [takes(5)]}, "B": {1: [takes(4)]}}
    waits = [(0, 1, 0), (1, 0, 2)]
    problem = problem_of([("A", 0), ("B", 0)], options, waits=waits, time_model="period")
    assert least(program_of(problem)) == (5, {pool("A", 1), pool("B", 1)})


@pytest.mark.parametrize(("crossing_us", "cost"), [(0, 7), (1, 7 + 2), (3, 11)])
def test_a_crossing_counts_where_roles_lie_in_different_node_pools(crossing_us: int, cost: int) -> None:
    """Only in b does B take 2 instead of 6; A has an option in a alone, and both waits cross."""
    options = {"A": {1: [takes(5)]}, "B": {1: [takes(6)], ("b", 1): [takes(2)]}}
    problem = problem_of(
        [("A", 0), ("B", 0)],
        options,
        waits=[(0, 1, 0), (1, 0, 1)],
        devices={"a": 2, "b": 1},
        crossing_us=crossing_us,
        time_model="period",
    )
    found = least(program_of(problem))
    assert found is not None
    assert found[0] == cost
    assert ({each.slot for each in found[1]} == {slot(1), slot(("b", 1))}) is (cost < 11)
