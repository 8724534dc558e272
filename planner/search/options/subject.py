"""What the rules ask about: one role of a scenario on one node pool."""

from dataclasses import dataclass
from functools import cached_property

from planner.domain.capabilities import Capabilities
from planner.domain.cluster import NodePool
from planner.domain.dataflow import CallKind, DataflowGraph, ModelCall
from planner.domain.model import ModelSpec
from planner.domain.scenario import Scenario
from planner.domain.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One role on one node pool."""

    role: str
    scenario: Scenario
    graph: DataflowGraph
    node_pool: NodePool

    @cached_property
    def calls(self) -> tuple[ModelCall, ...]:
        """The role's calls in program order."""
        return self.graph.calls_of(self.role)

    @cached_property
    def kinds(self) -> frozenset[CallKind]:
        """What the role's calls compute."""
        return frozenset(call.kind for call in self.calls)

    @property
    def is_trained(self) -> bool:
        return "train" in self.kinds

    @property
    def generates(self) -> bool:
        return "generate" in self.kinds

    @property
    def has_layout(self) -> bool:
        """Whether its weights live in a layout for passes, and not in one of generation alone."""
        return bool(self.kinds & {"train", "infer"})

    @property
    def phase(self) -> str:
        """The phase whose layout its weights live in."""
        return "train" if self.is_trained else "infer"

    @cached_property
    def model(self) -> ModelSpec:
        return self.scenario.model_of(self.role)

    @property
    def workload(self) -> Workload:
        return self.scenario.workload

    @cached_property
    def responses(self) -> int:
        """Most sequences that one of its calls generates."""
        parts = [self.workload.part(call.work) for call in self.calls if call.kind == "generate"]
        return max(part.samples for part in parts)

    @cached_property
    def _pinned(self) -> dict[tuple[str, str], int | str | None]:
        """What pins were asked for before."""
        return {}

    def can(self, capability: str) -> bool:
        """Whether the runtime at hand can do something; without one, whatever the costs know."""
        capabilities: Capabilities | None = self.scenario.capabilities
        return capabilities is None or bool(getattr(capabilities, capability))

    def pinned(self, field: str, *, phase: str = "") -> int | str | None:
        """The value that a pin gives a field; none where it is free."""
        key = (phase, field)
        if key not in self._pinned:
            self._pinned[key] = self.scenario.pin.value(self.role, phase, field)
        return self._pinned[key]

    def allows(self, field: str, value: int | str, *, phase: str = "") -> bool:
        """Whether the pins leave a field free or agree."""
        return self.pinned(field, phase=phase) in (None, value)
