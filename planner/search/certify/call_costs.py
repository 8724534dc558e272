"""What a check asks of the costs."""

from typing import Protocol

from planner.domain.cluster import NodePool
from planner.domain.dataflow import ModelCall
from planner.domain.plan import CallPrediction, RoleMemory, RoleStrategy


class CallCosts(Protocol):
    """Seconds and bytes of a role in one strategy."""

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool, /) -> CallPrediction:
        """Seconds of one of the role's calls."""
        ...

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool, /) -> RoleMemory:
        """Bytes of the role on its fullest device, by kind."""
        ...
