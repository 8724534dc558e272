"""What a pinned field of a role could be, by the rules that list strategies, whatever it costs."""

from collections.abc import Mapping

from planner.domain.dataflow import DataflowGraph
from planner.domain.pins import PinKey
from planner.domain.scenario import Scenario
from planner.search.options.raw import raw_strategies
from planner.search.options.rows import OFFLOADS, RECOMPUTES
from planner.search.refusals.fixes import quick_slots

_CODES: Mapping[str, tuple[str, ...]] = {"recompute": RECOMPUTES, "offload": OFFLOADS}
"""What the codes of a column stand for."""


def offered_values(key: PinKey, scenario: Scenario, graph: DataflowGraph) -> list[str]:
    """Values of one field in the strategies of a role on any device count, rising; zero means none."""
    found: set[int] = set()
    places: set[str] = set()
    for slot in quick_slots(scenario):
        node_pool = scenario.cluster.node_pool(slot.node_pool)
        rows = raw_strategies(scenario, graph, key.role, node_pool, slot.devices).rows
        if len(rows["devices"]):
            places.add(slot.node_pool)
            found.update(map(int, rows.get(_column(key), ())))
    if key.field == "node_pool":
        return [pool.name for pool in scenario.cluster.node_pools if pool.name in places]
    return [_word(key.field, value) for value in sorted(found)]


def _word(field: str, value: int) -> str:
    return _CODES[field][value] if field in _CODES else str(value or "none")


def _column(key: PinKey) -> str:
    return f"generate_{key.field}" if key.phase == "generate" else key.field
