"""What a user demands of a plan: pins, colocate and apart, and whether these can be had together."""

import math

import networkx as nx

from planner.domain.contradictions import check_roles
from planner.domain.dataflow import ACTOR, GENERATOR, DataflowGraph
from planner.domain.pins import PinKey
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError

_SIZES = {
    "train": ("pipeline", "tensor", "data", "context"),
    "infer": ("pipeline", "tensor", "data", "context"),
    "generate": ("pipeline", "tensor", "replicas"),
}
"""Sizes whose product is the devices of a layout."""


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
        When roles must share a pool and must not, or are pinned to different devices, or to more than a pool
        may have.
    """
    check_roles(scenario, graph, where=scenario.name)
    for role in graph.roles:
        _check_devices(scenario, role)
    for group in colocated_sets(scenario):
        _check_group(scenario, tuple(role for role in graph.roles if role in group))


def _check_group(scenario: Scenario, group: tuple[str, ...]) -> None:
    names = ", ".join(group)
    if {ACTOR, GENERATOR} <= set(group):
        raise InfeasibleError(
            f"colocate puts {names} into one pool, but a generator runs ahead of its actor on devices of its "
            "own",
            fix=f"drop {ACTOR} or {GENERATOR} from colocate, or staleness",
        )
    for forbidden in scenario.apart:
        both = [role for role in group if role in forbidden]
        if len(both) > 1:
            raise InfeasibleError(
                f"colocate puts {names} into one pool, but apart forbids {' and '.join(both)} to share one",
                fix=f"drop {' or '.join(both[:2])} from colocate or from apart",
            )
    counts = {pin: count for role in group for pin, count in pinned_devices(scenario, role).items()}
    places = {
        f"pin {role}.node_pool: {name}": name
        for role in group
        if (name := scenario.pin.root.get(PinKey(role, "", "node_pool"))) is not None
    }
    for field, pins in (("devices", counts), ("node_pool", places)):
        if len(set(pins.values())) > 1:
            raise InfeasibleError(
                f"colocate puts {names} into one pool, but their pins differ: {', '.join(pins)}",
                fix=f"pin the same {field} for all of them, or drop a pin",
            )


def _check_devices(scenario: Scenario, role: str) -> None:
    counts, most = pinned_devices(scenario, role), scenario.maximum_devices
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{pin} ({count} devices)" for pin, count in counts.items())
        raise InfeasibleError(
            f"{role}: its pins ask for different numbers of devices: {listed}", fix="drop one of these pins"
        )
    for pin, count in counts.items():
        if most is not None and count > most:
            raise InfeasibleError(
                f"{role}: {pin} asks for {count} devices, but maximum_devices lets no pool have more than "
                f"{most}",
                fix=f"set maximum_devices: {count}, or drop the pin",
            )


def pinned_devices(scenario: Scenario, role: str) -> dict[str, int]:
    """How many devices each of a role's pins takes that says so, whole layouts included."""
    pins = scenario.pin.root
    found = {}
    if (devices := pins.get(PinKey(role, "", "devices"))) is not None:
        found[f"pin {role}.devices: {devices}"] = int(devices)
    for phase, fields in _SIZES.items():
        sizes = [int(pins.get(PinKey(role, phase, field), 0)) for field in fields]
        if all(sizes):
            text = " x ".join(f"{field} {size}" for field, size in zip(fields, sizes, strict=True))
            found[f"pin {role}.{phase}: {text}"] = math.prod(sizes)
    return found
