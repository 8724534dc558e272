"""The dataflow of one RL iteration: which model calls there are and what each waits for."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import networkx as nx

CallKind = Literal["generate", "infer", "train", "numeric"]

CONTROLLER = "controller"
"""The role whose calls are numeric and need no device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of one role: what it computes, which fields of the batch it reads and which it adds."""

    name: str
    role: str
    method: str
    kind: CallKind
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataflowGraph:
    """Calls in program order, and the networkx graph of their data dependences.

    Edges carry ``fields``, the names of the batch fields that flow along them. Updated weights become visible
    in the next iteration, so no edge leaves an update.
    """

    name: str
    graph: nx.DiGraph = field(repr=False)

    @cached_property
    def calls(self) -> tuple[ModelCall, ...]:
        """All calls in program order."""
        return tuple(self.graph.nodes[name]["call"] for name in self.graph.nodes)

    @cached_property
    def model_calls(self) -> tuple[ModelCall, ...]:
        """The calls that need devices, in program order."""
        return tuple(call for call in self.calls if call.kind != "numeric")

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Roles that need devices, in the order of their first call."""
        return tuple(dict.fromkeys(call.role for call in self.model_calls))

    @cached_property
    def trained_roles(self) -> frozenset[str]:
        return frozenset(call.role for call in self.calls if call.kind == "train")

    def calls_of(self, role: str) -> tuple[ModelCall, ...]:
        """The role's calls in program order."""
        return tuple(call for call in self.calls if call.role == role)

    def call(self, name: str) -> ModelCall:
        """The call of that name."""
        call: ModelCall = self.graph.nodes[name]["call"]
        return call

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Names of the calls that this one waits for."""
        return tuple(self.graph.predecessors(name))

    @cached_property
    def stage_of(self) -> dict[str, int]:
        """Stage of each model call, from 0.

        A call stands one stage after a call of another kind that it waits for and in the same stage as
        those of its own kind; numeric calls stand between stages and shift nothing.
        """
        stages: dict[str, int] = {}
        kinds: dict[str, frozenset[CallKind]] = {}
        for name in nx.lexicographical_topological_sort(self.graph):
            call = self.call(name)
            stage, at_stage = 0, frozenset[CallKind]()
            for other in self.graph.predecessors(name):
                own = {call.kind} if call.kind != "numeric" else kinds[other]
                candidate = stages[other] + (1 if kinds[other] - own else 0)
                stage = max(stage, candidate)
            if call.kind == "numeric":
                at_stage = frozenset().union(
                    *(kinds[other] for other in self.graph.predecessors(name) if stages[other] == stage)
                )
            else:
                at_stage = frozenset({call.kind})
            stages[name], kinds[name] = stage, at_stage
        return {call.name: stages[call.name] for call in self.model_calls}

    @cached_property
    def stages(self) -> tuple[tuple[ModelCall, ...], ...]:
        """Model calls by stage; for PPO: generation, preparation, training."""
        count = 1 + max(self.stage_of.values(), default=-1)
        return tuple(
            tuple(call for call in self.model_calls if self.stage_of[call.name] == stage)
            for stage in range(count)
        )
