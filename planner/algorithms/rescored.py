"""An actor that computes the log-probabilities of its responses itself, where its serving engine does not.

HybridFlow leaves that forward pass out when both engines compute in the same precision (its table 4).
Trainers that take only tokens from the serving engine cannot.
"""

from dataclasses import replace

from planner.domain.dataflow import ACTOR, CONTROLLER, DataflowGraph, ModelCall

_READS = ("tokens", "response_mask")
_WRITES = "old_logprobs"


def rescored(graph: DataflowGraph) -> DataflowGraph:
    """The same dataflow with one forward pass of the actor over the samples, before the advantages."""
    calls = graph.graph.copy()
    sources = [call for call in graph.calls if _WRITES in call.writes]
    for each in sources:
        writes = tuple(field for field in each.writes if field != _WRITES)
        calls.nodes[each.name]["call"] = replace(each, writes=writes)
    source = sources[0]
    again = ModelCall(
        name=f"{ACTOR}.logprobs",
        role=ACTOR,
        method="logprobs",
        kind="infer",
        reads=_READS,
        writes=(_WRITES,),
    )
    calls.add_node(again.name, call=again)
    for _, reader, fields in list(calls.out_edges(source.name, data="fields")):
        if _WRITES in fields:
            calls.edges[source.name, reader]["fields"] = tuple(each for each in fields if each != _WRITES)
            calls.add_edge(again.name, reader, fields=(_WRITES,))
    for call in graph.calls_of(CONTROLLER):
        if not calls.has_edge(again.name, call.name):
            calls.add_edge(again.name, call.name, fields=())
    calls.add_edge(source.name, again.name, fields=_READS)
    return replace(graph, graph=calls)
