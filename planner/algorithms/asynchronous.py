"""Asynchronous training: the actor's generation moved to a generator on devices of its own.

The generator generates with weights of a few iterations before, so that its calls run beside the training
they are not yet part of (LlamaRL, 2505.24034, section 4; AReaL, 2505.24298, section 4.1, whose greatest
staleness is this one).
"""

from dataclasses import replace
from typing import Literal

import networkx as nx

from planner.algorithms.known import dataflow_of
from planner.domain.dataflow import ACTOR, GENERATOR, DataflowGraph, ModelCall
from planner.domain.plan import Plan
from planner.errors import SpecError


def asynchronous(graph: DataflowGraph, staleness: int) -> DataflowGraph:
    """The same dataflow with a generator that may run so many iterations ahead of the actor's updates.

    All that the actor generates, the generator does. After the actor's last update ``actor.send`` brings its
    weights out and ``generator.receive`` takes them in, calls like any other; a generation of iteration i
    waits for the weights received in iteration i - 1 - staleness.

    Raises
    ------
    SpecError
        When the actor does not both generate and learn.
    """
    kinds = {call.kind for call in graph.calls_of(ACTOR)}
    if not {"generate", "train"} <= kinds:
        raise SpecError(f"algorithm: {graph.name} has no actor that generates and learns; drop staleness")
    names = {call.name: _moved(call) for call in graph.calls}
    moved = nx.DiGraph()
    for call in names.values():
        moved.add_node(call.name, call=call)
    for source, target, flow in graph.graph.edges(data=True):
        moved.add_edge(names[source].name, names[target].name, **flow)
    send, receive = _transfer(ACTOR, "send"), _transfer(GENERATOR, "receive")
    moved.add_node(send.name, call=send)
    moved.add_node(receive.name, call=receive)
    for call in graph.calls_of(ACTOR):
        if call.kind == "train":
            moved.add_edge(call.name, send.name, fields=())
    moved.add_edge(send.name, receive.name, fields=())
    return replace(graph, graph=moved, staleness=staleness)


def planned_dataflow(plan: Plan) -> DataflowGraph:
    """The dataflow that a plan was made for: asynchronous if a generator generates in it."""
    graph = dataflow_of(plan.scenario)
    return asynchronous(graph, plan.staleness) if GENERATOR in plan.strategies else graph


def _moved(call: ModelCall) -> ModelCall:
    if call.role != ACTOR or call.kind != "generate":
        return call
    return replace(call, name=call.name.replace(ACTOR, GENERATOR, 1), role=GENERATOR)


def _transfer(role: str, kind: Literal["send", "receive"]) -> ModelCall:
    return ModelCall(name=f"{role}.{kind}", role=role, method=kind, kind=kind, reads=(), writes=())
