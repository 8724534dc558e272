"""What the search asks of the costs."""

from collections.abc import Sequence
from typing import Protocol

from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.role_costs import RoleCosts
from planner.costs.arrays.sync_table import Syncs
from planner.costs.arrays.table import Configurations
from planner.domain.cluster import NodePool
from planner.domain.dataflow import ModelCall
from planner.domain.plan import CallPrediction, Offload, RoleMemory, RoleStrategy


class Costs(Protocol):
    """Seconds and bytes of a role in a strategy (`planner.costs.CostModel`), alone and in whole tables."""

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool, /) -> CallPrediction:
        """Seconds of one of the role's calls."""
        ...

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool, /) -> RoleMemory:
        """Bytes of the role on its fullest device, by kind."""
        ...

    def layouts(
        self, role: str, rows: Configurations, node_pool: NodePool, /, *, offloads: Sequence[Offload]
    ) -> list[RoleCosts]:
        """The calls that do not generate, in many layouts, once for each offload; with the role's own bytes.

        Nothing in them depends on how the role generates.
        """
        ...

    def generations(
        self, role: str, pairs: Syncs, node_pool: NodePool, /, *, offloads: Sequence[Offload]
    ) -> list[RoleCosts]:
        """The calls that generate, in pairs of a training layout and a generation strategy, for each offload.

        Of the layout and the offload only (p, t, c, e), the devices, and whether weights come back for the
        weight sync may matter.
        """
        ...

    def generators(self, role: str, rows: Generations, node_pool: NodePool, /) -> RoleCosts:
        """All calls of a role that only generates."""
        ...
