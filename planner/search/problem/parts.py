"""Problems that are answered as several.

Where all pools must lie in one node pool there is one for each node pool. Of a node pool with several nodes
some slots are lone: they pack with others of one node only. For them there is one more problem with a single
node, so that more nodes permit whatever one does.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import chain, combinations
from types import MappingProxyType

from planner.search.problem import Problem
from planner.search.problem.allocation import Slot


def parts(problem: Problem) -> tuple[Problem, ...]:
    """The problems that together permit what a problem does, those of all nodes first."""
    return (*whole_parts(problem), *chain.from_iterable(map(_by_nodes, _inside_node_pools(problem))))


def whole_parts(problem: Problem) -> tuple[Problem, ...]:
    """Those of all nodes, without lone slots."""
    return tuple(_on_single_nodes(each, ()) for each in _inside_node_pools(problem))


def _inside_node_pools(problem: Problem) -> tuple[Problem, ...]:
    if problem.spreads or len(problem.capacities) == 1:
        return (problem,)
    return tuple(_inside(problem, name) for name in problem.capacities)


def _inside(problem: Problem, name: str) -> Problem:
    """The problem on one node pool."""
    limited = _with_slots(problem, lambda slot: slot.node_pool == name)
    return replace(limited, capacities=MappingProxyType({name: problem.capacities[name]}))


def _by_nodes(problem: Problem) -> Iterator[Problem]:
    """The problem with one node of some of the node pools that have lone slots, and any part of it."""
    lone = {slot for tables in problem.options.values() for slot in tables} & problem.lone
    names = [name for name in problem.capacities if any(slot.node_pool == name for slot in lone)]
    for count in range(1, len(names) + 1):
        for few in combinations(names, count):
            yield _on_single_nodes(problem, few)


def _on_single_nodes(problem: Problem, few: Collection[str]) -> Problem:
    """The problem with one node of these node pools, and slots that always pack of the others."""
    capacities = {
        name: min(devices, problem.node_devices[name]) if name in few else devices
        for name, devices in problem.capacities.items()
    }

    def is_there(slot: Slot) -> bool:
        return slot.devices <= capacities[slot.node_pool] and (
            slot.node_pool in few or slot not in problem.lone
        )

    return replace(_with_slots(problem, is_there), capacities=MappingProxyType(capacities))


def _with_slots(problem: Problem, is_there: Callable[[Slot], bool]) -> Problem:
    options = {
        role: MappingProxyType({slot: table for slot, table in tables.items() if is_there(slot)})
        for role, tables in problem.options.items()
    }
    return replace(problem, options=MappingProxyType(options))
