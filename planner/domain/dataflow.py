"""The dataflow of one RL iteration: which model calls there are and what each waits for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal

import networkx as nx

from planner.domain.workload import Work

CallKind = Literal["generate", "infer", "train", "numeric", "send", "receive"]
"""What a call computes; ``send`` and ``receive`` move updated weights to a generator on other devices."""

Option = str | bool
"""A setting of one call, such as ``loss="ppo"`` or ``do_sample=False``."""

CONTROLLER = "controller"
"""The role whose calls are numeric and need no device."""
ACTOR = "actor"
"""The role that learns to generate."""
REFERENCE = "reference"
"""The role that a divergence of the actor is measured from."""
GENERATOR = "generator"
"""The role that generates for the actor on devices of its own in asynchronous training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of one role: what it computes, which fields of the batch it reads and which it adds."""

    name: str
    role: str
    method: str
    kind: CallKind
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    options: tuple[tuple[str, Option], ...] = ()
    work: Work = "samples"
    """The sequences of the iteration that it computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """A call that waits for another one: that of iteration i for the other's of iteration i - lag."""

    source: str
    target: str
    lag: int = 0
    fields: tuple[str, ...] = ()
    """Fields of the batch that flow along it; none where weights do."""


@dataclass(frozen=True, kw_only=True)
class DataflowGraph:
    """Calls in program order, and the networkx graph of their data dependences.

    Edges carry ``fields``, the names of the batch fields that flow along them. Updated weights become visible
    in the next iteration, so no edge leaves an update, but for that to a call that sends the weights away.
    """

    name: str
    graph: nx.DiGraph = field(repr=False)
    staleness: int = 0
    """Iterations that generation may run ahead of the updates; 0 generates with the newest weights."""
    services: frozenset[str] = frozenset()
    """Roles that take no devices: rules, or judges that answer from elsewhere."""

    @cached_property
    def calls(self) -> tuple[ModelCall, ...]:
        """All calls in program order."""
        return tuple(self.graph.nodes[name]["call"] for name in self.graph.nodes)

    @cached_property
    def model_calls(self) -> tuple[ModelCall, ...]:
        """The calls that need devices, in program order."""
        return tuple(call for call in self._timed_calls if call.role not in self.services)

    @cached_property
    def service_calls(self) -> tuple[ModelCall, ...]:
        """The calls that take time but no devices, in program order."""
        return tuple(call for call in self._timed_calls if call.role in self.services)

    @cached_property
    def _timed_calls(self) -> tuple[ModelCall, ...]:
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

    @cached_property
    def dependences(self) -> tuple[Dependence, ...]:
        """Everything that a call waits for: data of its iteration, weights of earlier ones, a busy service.

        A trained role's other calls wait for its updates of the iteration before. A generator's wait for the
        weights of ``1 + staleness`` iterations before. A call of a service takes all that the service can do
        at once, so that its calls run one after another, over all iterations.
        """
        data = [
            Dependence(source=source, target=target, fields=self.graph.edges[source, target]["fields"])
            for source, target in self.graph.edges
        ]
        return (*data, *self._weights(), *self._turns_of_services())

    def _weights(self) -> Iterator[Dependence]:
        for source in self.calls:
            if source.kind == "train":
                for target in self.calls_of(source.role):
                    if target.kind in ("generate", "infer"):
                        yield Dependence(source=source.name, target=target.name, lag=1)
            if source.kind == "receive":
                for target in self.calls_of(source.role):
                    if target.kind == "generate":
                        yield Dependence(source=source.name, target=target.name, lag=1 + self.staleness)

    def _turns_of_services(self) -> Iterator[Dependence]:
        for role in sorted(self.services):
            own = [call.name for stage in self.stages for call in stage if call.role == role]
            for source, target in pairwise(own):
                yield Dependence(source=source, target=target)
            if own:
                yield Dependence(source=own[-1], target=own[0], lag=1)

    def call(self, name: str) -> ModelCall:
        """The call of that name."""
        call: ModelCall = self.graph.nodes[name]["call"]
        return call

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """Names of the calls that this one waits for."""
        return tuple(self.graph.predecessors(name))

    @cached_property
    def stage_of(self) -> dict[str, int]:
        """Stage of each call that takes time, from 0.

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
        return {call.name: stages[call.name] for call in self._timed_calls}

    @cached_property
    def stages(self) -> tuple[tuple[ModelCall, ...], ...]:
        """Calls that take time by stage; for PPO: generation, preparation, training."""
        count = 1 + max(self.stage_of.values(), default=-1)
        return tuple(
            tuple(call for call in self._timed_calls if self.stage_of[call.name] == stage)
            for stage in range(count)
        )
