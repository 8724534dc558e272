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
    source = next(call for call in graph.calls if _WRITES in call.writes)
    again = ModelCall(
        name=f"{ACTOR}.logprobs",
        role=ACTOR,
        method="logprobs",
        kind="infer",
        reads=_READS,
        writes=(_WRITES,),
    )
    calls.add_node(again.name, call=again)
    calls.add_edge(source.name, again.name, fields=_READS)
    for call in graph.calls_of(CONTROLLER):
        calls.add_edge(again.name, call.name, fields=(_WRITES,))
    return replace(graph, graph=calls)
