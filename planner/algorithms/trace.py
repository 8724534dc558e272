"""Run an algorithm with symbolic roles, and keep the graph of its calls.

The same function runs for real when `Roles` hands out worker groups and `Batch` holds futures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, Self

import networkx as nx

from planner.domain.dataflow import CONTROLLER, CallKind, DataflowGraph, ModelCall, Option
from planner.domain.workload import Work
from planner.errors import SpecError


class Batch(Protocol):
    """Named fields of the iteration's samples; symbolic when traced, futures when run."""

    def __or__(self, other: Any, /) -> Self:
        """Both batches' fields, those of the other where both have one; the rows are this one's."""
        ...

    def only(self, *fields: str) -> Self:
        """The batch without its other fields."""
        ...


class Roles(Protocol):
    """Hands out a role by attribute, ``roles.actor``; its methods take and return batches."""

    def __getattr__(self, role: str, /) -> Any: ...


Algorithm = Callable[[Any, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What a role's method computes: fields read (where present) and fields added."""

    kind: CallKind
    reads: tuple[str, ...]
    writes: tuple[str, ...]


ROLLOUT = ("tokens", "response_mask")
JUDGED = (*ROLLOUT, "prompt_ids")
POLICY = (*ROLLOUT, "old_logprobs", "proximal_logprobs", "advantages")

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "generate": Method(
            kind="generate", reads=("prompts",), writes=(*ROLLOUT, "old_logprobs", "prompt_ids")
        ),
        "proximal_logprobs": Method(kind="infer", reads=ROLLOUT, writes=("proximal_logprobs",)),
        "logprobs": Method(kind="infer", reads=ROLLOUT, writes=("reference_logprobs",)),
        "values": Method(kind="infer", reads=ROLLOUT, writes=("old_values",)),
        "scores": Method(kind="infer", reads=JUDGED, writes=("scores",)),
        "baselines": Method(kind="infer", reads=JUDGED, writes=("baselines",)),
        "costs": Method(kind="infer", reads=JUDGED, writes=("costs",)),
        "advantages": Method(
            kind="numeric",
            reads=(
                "response_mask",
                "old_logprobs",
                "proximal_logprobs",
                "reference_logprobs",
                "old_values",
                "scores",
                "baselines",
                "costs",
            ),
            writes=("advantages", "returns"),
        ),
        "update": Method(
            kind="train",
            reads=(*POLICY, "reference_logprobs", "old_values", "returns", "pretraining"),
            writes=(),
        ),
    }
)
"""The methods that roles have (HybridFlow, table 4); ``baselines`` are the scores of greedy responses,
``proximal_logprobs`` the actor's own of what the serving engine generated."""

LOSS_READS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ppo": (*POLICY, "pretraining"),
        "grpo": (*POLICY, "reference_logprobs", "pretraining"),
        "gspo": (*POLICY, "reference_logprobs", "pretraining"),
        "value": (*ROLLOUT, "old_values", "returns"),
    }
)
"""Fields that an update reads under each loss, where the batch has them. ``ppo`` is the clipped surrogate;
with ``grpo`` the divergence from the reference is part of it; ``gspo`` has the ratio of whole responses."""

WORK: Mapping[tuple[str, Option], Work] = MappingProxyType(
    {
        ("do_sample", False): "greedy",
        ("resample", True): "candidates",
        ("pretraining", True): "samples and pretraining",
    }
)
"""Options that say what a call, and those that read its batch, compute; the controller keeps the samples."""


@dataclass(frozen=True, slots=True)
class SymbolicBatch:
    """Fields, each with the name of the call that made it (empty for the iteration's own input)."""

    origins: Mapping[str, str]
    work: Work = "samples"

    def __or__(self, other: "SymbolicBatch") -> "SymbolicBatch":
        return SymbolicBatch({**self.origins, **other.origins}, self.work)

    def only(self, *fields: str) -> "SymbolicBatch":
        return SymbolicBatch({field: self.origins[field] for field in fields}, self.work)


class _Tracer:
    """Hands out symbolic roles and collects their calls."""

    def __init__(self) -> None:
        self.graph = nx.DiGraph()

    def __getattr__(self, role: str) -> "_SymbolicRole":
        return _SymbolicRole(self.graph, role)


@dataclass(frozen=True, slots=True)
class _SymbolicRole:
    graph: nx.DiGraph
    role: str

    def __getattr__(self, method: str) -> Callable[..., SymbolicBatch]:
        if method not in METHODS:
            raise SpecError(f"algorithm: {self.role} has no method {method!r}; known: {', '.join(METHODS)}")
        return lambda batch, **options: self._record(method, batch, options)

    def _record(self, name: str, batch: SymbolicBatch, options: dict[str, Option]) -> SymbolicBatch:
        method = METHODS[name]
        if (method.kind == "numeric") != (self.role == CONTROLLER):
            raise SpecError(f"algorithm: {name!r} is not a method of {self.role}")
        wanted = LOSS_READS[str(options["loss"])] if "loss" in options else method.reads
        reads = tuple(field for field in wanted if field in batch.origins)
        call = ModelCall(
            name=_free_name(self.graph, f"{self.role}.{name}"),
            role=self.role,
            method=name,
            kind=method.kind,
            reads=reads,
            writes=method.writes,
            options=tuple(sorted(options.items())),
            work=_work(options, batch.work),
        )
        self.graph.add_node(call.name, call=call)
        for field in reads:
            _flow(self.graph, batch.origins[field], call.name, field)
        kept = "samples" if method.kind == "numeric" else call.work
        return SymbolicBatch({**batch.origins, **dict.fromkeys(method.writes, call.name)}, kept)


def trace(algorithm: Algorithm, *, name: str) -> DataflowGraph:
    """The dataflow graph of an algorithm."""
    tracer = _Tracer()
    algorithm(tracer, SymbolicBatch({"prompts": ""}))
    return DataflowGraph(name=name, graph=tracer.graph)


def _work(options: Mapping[str, Option], inherited: Work) -> Work:
    return next((WORK[option] for option in options.items() if option in WORK), inherited)


def _free_name(graph: nx.DiGraph, wanted: str) -> str:
    count = sum(1 for call in graph if call == wanted or call.startswith(f"{wanted}#"))
    return wanted if count == 0 else f"{wanted}#{count + 1}"


def _flow(graph: nx.DiGraph, source: str, target: str, field: str) -> None:
    if not source:
        return
    fields = graph.edges[source, target]["fields"] if graph.has_edge(source, target) else ()
    graph.add_edge(source, target, fields=(*fields, field))
