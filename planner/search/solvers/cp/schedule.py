"""A program's cost made the least period of a cyclic schedule, where its combinations differ by call.

Call c of iteration i starts at s_c + i P, where P is the program's cost. A wait with lag l says
s_target + l P >= s_source + d_source + crossing. Calls a and b on one pool overlap in no iteration if and
only if there is a whole number q such that b of q iterations later and all after it start when a has ended
(s_b + q P >= s_a + d_a), and b of q - 1 iterations later and all before it have ended when a starts
(s_a >= s_b + (q - 1) P + d_b). The waits bound q: ways of waits of lag l from a to b and of lag m from b to a
keep s_b - s_a between -l P and m P, so that -m <= q <= l + 1. All is linear once a boolean chooses q.

Waits that lie on no circle cost no time, as what follows may run periods later; instead of them, parts that
only such waits connect are tied to within a period of each other (`planner.search.schedules.periods`). Where
pools may not interleave iterations, no part may move by itself, and all waits stay.
"""

from collections.abc import Sequence
from itertools import combinations

import networkx as nx
from ortools.sat.python import cp_model

from planner.search.bounds.features import crossing_roles
from planner.search.problem import Problem, Wait
from planner.search.solvers.cp.program import Program, lie_apart, summed

FAR = 10**6
"""A lag of calls between which there is no way."""


def schedule_program(program: Program) -> None:
    """Add starts and orders to a program, so that its cost is the exact period."""
    problem = program.problem
    waits, ties = circular_waits(problem)
    lags = least_lags(len(problem.calls), [*waits, *ties])
    furthest = max((lag for row in lags for lag in row if lag < FAR), default=0)
    horizon = program.limit_us * (2 + furthest + (0 if problem.interleaves else len(problem.calls)))
    starts = [program.cp.new_int_var(0, horizon, f"start {call.name}") for call in problem.calls]
    lasts = [_duration(program, number) for number in range(len(problem.calls))]
    apart = {
        pair: lie_apart(program, *pair)
        for pair in dict.fromkeys(crossing_roles(problem, wait) for wait in waits)
        if pair is not None
    }
    for wait in waits:
        pair = crossing_roles(problem, wait)
        ends = starts[wait.source] + lasts[wait.source]
        if pair is not None:
            ends += wait.crossing_us * apart[pair]
        program.cp.add(starts[wait.target] + wait.lag * program.cost >= ends)
    for tie in ties:
        program.cp.add(starts[tie.target] + tie.lag * program.cost >= starts[tie.source])
    _share_pools(program, starts, lasts, lags)


def circular_waits(problem: Problem) -> tuple[list[Wait], list[Wait]]:
    """The waits that lie on circles, and ties between the parts that are left unconnected.

    All waits and no ties where pools may not interleave.
    """
    if not problem.interleaves:
        return list(problem.waits), []
    graph = nx.DiGraph((wait.source, wait.target) for wait in problem.waits)
    graph.add_nodes_from(range(len(problem.calls)))
    parts = sorted(nx.strongly_connected_components(graph), key=min)
    part = {call: number for number, calls in enumerate(parts) for call in calls}
    first, *others = (min(calls) for calls in parts)
    ties = [
        tie
        for other in others
        for tie in (Wait(source=first, target=other), Wait(source=other, target=first, lag=1))
    ]
    return [wait for wait in problem.waits if part[wait.source] == part[wait.target]], ties


def least_lags(count: int, waits: Sequence[Wait]) -> list[list[int]]:
    """The least lag of any way of waits from each call to each other one (Floyd and Warshall)."""
    lags = [[FAR] * count for _ in range(count)]
    for wait in waits:
        lags[wait.source][wait.target] = min(lags[wait.source][wait.target], wait.lag)
    for middle in range(count):
        for row in lags:
            for target in range(count):
                row[target] = min(row[target], row[middle] + lags[middle][target])
    return lags


def _duration(program: Program, number: int) -> cp_model.LinearExpr:
    """Microseconds of a call under the options chosen."""
    problem, call = program.problem, program.problem.calls[number]
    if call.role is None:
        return program.cp.new_constant(call.us)
    column = sum(1 for other in problem.calls[:number] if other.role is not None)
    us = {roles: front.compared_us[:, column] for roles, front in program.fronts.items()}
    lasts = program.cp.new_int_var(0, program.limit_us, f"microseconds of {call.name}")
    program.cp.add(lasts == program.total(us, roles=1 << call.role))
    return lasts


def _share_pools(
    program: Program,
    starts: Sequence[cp_model.IntVar],
    lasts: Sequence[cp_model.LinearExpr],
    lags: Sequence[Sequence[int]],
) -> None:
    """Calls of roles that share a pool never overlap."""
    problem, cp = program.problem, program.cp
    shared: dict[int, cp_model.IntVar] = {}
    for one, other in combinations(range(len(problem.calls)), 2):
        first, second = problem.calls[one].role, problem.calls[other].role
        if first is None or second is None:
            continue
        roles = 1 << first | 1 << second
        if roles not in shared:
            shared[roles] = cp.new_bool_var(f"{roles} share")
            cp.add(shared[roles] == program.total(program.ones(), roles=roles))
        earliest, latest = -lags[other][one], lags[one][other] + 1
        if not problem.interleaves:
            earliest, latest = 0, 1
        orders = {}
        for turn in range(earliest, latest + 1):
            orders[turn] = cp.new_bool_var(f"{one} before {other} from {turn}")
            after = starts[other] + turn * program.cost >= starts[one] + lasts[one]
            before = starts[one] >= starts[other] + (turn - 1) * program.cost + lasts[other]
            cp.add(after).only_enforce_if(orders[turn])
            cp.add(before).only_enforce_if(orders[turn])
        cp.add(summed(orders.values()) == shared[roles])
