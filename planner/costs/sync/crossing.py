"""Seconds of data and weights on their way from one node pool to another."""

from collections.abc import Mapping
from types import MappingProxyType

from planner.domain.dataflow import DataflowGraph, Dependence
from planner.domain.model import PARAMETER_BYTES
from planner.domain.scenario import Scenario

Link = tuple[str, str]
"""From a node pool to another one."""
TOKEN_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "tokens": 8,
        "response_mask": 1,
        "old_logprobs": 4,
        "proximal_logprobs": 4,
        "reference_logprobs": 4,
        "old_values": 4,
        "advantages": 4,
        "returns": 4,
    }
)
"""Bytes of a field per token of prompt and response: token ids are int64, masks one byte, numbers fp32, as
this package's runtime holds them. Padding is taken to be removed."""
SAMPLE_BYTES: Mapping[str, int] = MappingProxyType({"prompt_ids": 8, "scores": 4, "baselines": 4, "costs": 4})
"""Bytes of a field per sample: one int64 or fp32 number."""


def crossings(
    scenario: Scenario, graph: DataflowGraph, node_pools: Mapping[str, str]
) -> dict[Dependence, float]:
    """Seconds of each dependence between roles of different node pools.

    Parameters
    ----------
    node_pools
        Name of the node pool of each role. Calls without devices are near everything.
    """
    found = {}
    for wait in graph.dependences:
        ends = {node_pools.get(graph.call(name).role) for name in (wait.source, wait.target)} - {None}
        if len(ends) > 1:
            found[wait] = crossing_seconds(scenario, graph, wait)
    return found


def link_loads(
    graph: DataflowGraph, away: Mapping[Dependence, float], node_pools: Mapping[str, str]
) -> dict[Link, float]:
    """Seconds that an iteration takes of the link from each node pool to each other one.

    All that crosses in one direction shares the link, so that a period holds the sum.

    Parameters
    ----------
    away
        Seconds of the dependences that cross; those inside one node pool count nothing.
    node_pools
        Name of the node pool of each role.
    """
    loads: dict[Link, float] = {}
    for wait, seconds in away.items():
        link = link_of(graph, wait, node_pools)
        if link is not None:
            loads[link] = loads.get(link, 0.0) + seconds
    return loads


def link_of(graph: DataflowGraph, wait: Dependence, node_pools: Mapping[str, str]) -> Link | None:
    """From which node pool to which a dependence crosses; none inside one, or where an end has no devices."""
    source, target = (node_pools.get(graph.call(name).role) for name in (wait.source, wait.target))
    return None if source is None or target is None or source == target else (source, target)


def crossing_seconds(scenario: Scenario, graph: DataflowGraph, wait: Dependence) -> float:
    """From the end of a dependence's source until its target can start, when the link lies between them."""
    link = scenario.cluster.crossing
    return link.latency + crossing_bytes(scenario, graph, wait) / link.bandwidth


def crossing_bytes(scenario: Scenario, graph: DataflowGraph, wait: Dependence) -> float:
    """Bytes of the fields that flow along a dependence, or of the weights that a receive waits for."""
    source, target = graph.call(wait.source), graph.call(wait.target)
    if target.kind == "receive":
        return scenario.model_of(source.role).parameters() * PARAMETER_BYTES[scenario.precision]
    work = scenario.workload
    samples = min(work.part(call.work).samples for call in (source, target))
    per_token = sum(TOKEN_BYTES.get(field, 0) for field in wait.fields)
    per_sample = sum(SAMPLE_BYTES.get(field, 0) for field in wait.fields)
    return samples * (work.mean_tokens * per_token + per_sample)
