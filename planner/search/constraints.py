"""What a user demands of a plan: pins, colocate and apart, and whether these can be had together."""

import networkx as nx

from planner.domain.contradictions import check_roles
from planner.domain.dataflow import DataflowGraph
from planner.domain.pins import PinKey
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError


def colocated_sets(scenario: Scenario) -> tuple[frozenset[str], ...]:
    """Sets of roles that must share a pool, overlapping ones united."""
    demands = nx.Graph()
    for group in scenario.colocate:
        nx.add_path(demands, group)
    return tuple(frozenset(component) for component in nx.connected_components(demands) if len(component) > 1)


def refuse_contradictions(scenario: Scenario, graph: DataflowGraph) -> None:
    """Refuse demands that no plan can meet, whatever it costs.

    Raises
    ------
    SpecError
        When the scenario does not agree with its dataflow (`planner.domain.contradictions`).
    InfeasibleError
        When roles must share a pool and must not, or are pinned to different devices.
    """
    check_roles(scenario, graph, where=scenario.name)
    for group in colocated_sets(scenario):
        _check_group(scenario, tuple(role for role in graph.roles if role in group))


def _check_group(scenario: Scenario, group: tuple[str, ...]) -> None:
    names = ", ".join(group)
    for forbidden in scenario.apart:
        both = [role for role in group if role in forbidden]
        if len(both) > 1:
            raise InfeasibleError(
                f"colocate puts {names} into one pool, but apart forbids {' and '.join(both)} to share one",
                fix=f"drop {' or '.join(both[:2])} from colocate or from apart",
            )
    for field in ("devices", "node_pool"):
        pins = {role: scenario.pin.root.get(PinKey(role, "", field)) for role in group}
        pinned = {role: value for role, value in pins.items() if value is not None}
        if len(set(pinned.values())) > 1:
            listed = ", ".join(f"pin {role}.{field}: {value}" for role, value in pinned.items())
            raise InfeasibleError(
                f"colocate puts {names} into one pool, but their pins differ: {listed}",
                fix=f"pin the same {field} for all of them, or drop a pin",
            )
