"""All options of a role as the rules list them, before anything is costed."""

from collections.abc import Sequence

import numpy as np

from planner.costs.passes.training import OFFLOAD
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.plan import Offload
from planner.domain.scenario import Scenario
from planner.domain.stack import Resharding
from planner.search.options.generation_rules import raw_generations
from planner.search.options.layout_rules import offloads, raw_layouts
from planner.search.options.rows import Columns, Strategies, concatenated, crossed, taken
from planner.search.options.subject import Subject


def raw_strategies(
    scenario: Scenario, graph: DataflowGraph, role: str, node_pool: NodePool, devices: int
) -> Strategies:
    """Every strategy of a role on so many devices that its pins leave, whether it fits or not."""
    subject = Subject(role=role, scenario=scenario, graph=graph, node_pool=node_pool)
    counts = permitted(subject, [devices])
    if not subject.has_layout:
        return Strategies(rows=raw_generations(subject, counts), phase=None)
    rows = offloaded(raw_layouts(subject, counts), offloads(subject))
    if subject.generates:
        rows = under(raw_generations(subject, counts), rows, scenario.stack.generation.resharding)
    return Strategies(rows=rows, phase=subject.phase)


def permitted(subject: Subject, counts: Sequence[int]) -> list[int]:
    """Those of the device counts that the pins leave, rising."""
    if not subject.allows("node_pool", subject.node_pool.name):
        return []
    return sorted({count for count in counts if subject.allows("devices", count)})


def offloaded(rows: Columns, kinds: Sequence[Offload]) -> Columns:
    """All rows with one kind of offload after the other; ``returns`` says whether weights come back.

    Rows need ``devices`` only.
    """
    count = len(rows["devices"])
    codes = [OFFLOAD[kind] for kind in kinds]
    parts = [
        {**rows, "offload": np.full(count, code), "returns": np.full(count, int(code == OFFLOAD["all"]))}
        for code in codes
    ]
    nothing = taken({**rows, "offload": rows["devices"], "returns": rows["devices"]}, np.zeros(0, dtype=int))
    return concatenated([nothing, *parts])


def under(generation: Columns, training: Columns, resharding: Resharding = "micro-data") -> Columns:
    """Rows of one device count with each generation strategy that their weights can come to.

    In micro-DP groups p_g divides p and t_g divides t, without a resharding they are equal, and weights that
    are gathered over all devices come to any.
    """
    shapes = {name: column for name, column in generation.items() if name != "devices"}
    pipeline, tensor = training["pipeline"][:, None], training["tensor"][:, None]
    if resharding == "everywhere":
        return crossed(training, shapes, True)
    if resharding == "none":
        alike = (pipeline == shapes["generate_pipeline"]) & (tensor == shapes["generate_tensor"])
        return crossed(training, shapes, alike)
    divides = (pipeline % shapes["generate_pipeline"] == 0) & (tensor % shapes["generate_tensor"] == 0)
    return crossed(training, shapes, divides)
