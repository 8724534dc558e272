"""Toy problems: synthetic costs of a model of two layers and two heads."""

import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from planner.algorithms import ALGORITHMS, trace
from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.role_costs import RoleCosts
from planner.costs.arrays.sync_table import Syncs
from planner.costs.arrays.table import Configurations
from planner.costs.passes.training import RECOMPUTE
from planner.domain.cluster import NodePool
from planner.domain.dataflow import GENERATOR, DataflowGraph, ModelCall
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import CallPrediction, Offload, Recompute, RoleMemory, RoleStrategy
from planner.domain.scenario import Scenario

PPO = trace(ALGORITHMS["ppo"], name="ppo")


@dataclass(frozen=True)
class SyntheticCosts:
    """Seconds and bytes drawn at random, the same for the same seed, call and layout.

    Seconds of a call fall with some power of the devices, from not at all to in proportion, so that sharing
    devices pays for some draws and splitting them for others. Node pools differ by a factor.
    """

    seed: int
    graph: DataflowGraph
    bytes_scale: float = 1.0
    quantum_s: float = 0.0
    """Seconds are rounded up to a multiple of it, so that plans tie; 0 leaves them as they are."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names of calls, roles and node pools under which something else is drawn."""

    def layouts(
        self, role: str, rows: Configurations, node_pool: NodePool, *, offloads: Sequence[Offload] = ("none",)
    ) -> list[RoleCosts]:
        """Costs of the role's calls that do not generate, one row after the other."""
        calls = [call for call in self.graph.calls_of(role) if call.kind != "generate"]
        found = []
        for offload in offloads:
            strategies = [_layout_strategy(rows, row, offload) for row in range(len(rows))]
            found.append(self._costs(role, calls, strategies, node_pool))
        return found

    def generations(
        self, role: str, pairs: Syncs, node_pool: NodePool, *, offloads: Sequence[Offload] = ("none",)
    ) -> list[RoleCosts]:
        """The same of its calls that generate; what lives between calls is counted with the layouts."""
        return [self._generations(role, pairs, node_pool, offload) for offload in offloads]

    def _generations(self, role: str, pairs: Syncs, node_pool: NodePool, offload: Offload) -> RoleCosts:
        calls = [call for call in self.graph.calls_of(role) if call.kind == "generate"]
        strategies = [
            _layout_strategy(pairs.train, row, offload).model_copy(
                update={"generate": pairs.generate.one(row)}
            )
            for row in range(len(pairs))
        ]
        nothing = np.zeros(len(pairs), dtype=np.int64)
        return replace(self._costs(role, calls, strategies, node_pool), persistent=nothing, host=nothing)

    def generators(self, role: str, rows: Generations, node_pool: NodePool) -> RoleCosts:
        """All calls of a role that only generates."""
        strategies = [RoleStrategy(generate=rows.one(row)) for row in range(len(rows))]
        return self._costs(role, self.graph.calls_of(role), strategies, node_pool)

    def _costs(
        self, role: str, calls: Sequence[ModelCall], strategies: Sequence[RoleStrategy], node_pool: NodePool
    ) -> RoleCosts:
        memory = [self.memory(role, strategy, node_pool) for strategy in strategies]
        peaks = [[sum(each.transient[call.name].values()) for call in calls] for each in memory]
        return RoleCosts(
            seconds={
                call.name: np.array([self.call(call, each, node_pool).seconds for each in strategies])
                for call in calls
            },
            persistent=np.array([each.persistent_bytes for each in memory], dtype=np.int64),
            transient=np.array([max(own, default=0) for own in peaks], dtype=np.int64),
            host=np.array([each.host for each in memory], dtype=np.int64),
        )

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> CallPrediction:
        seconds, reshard = self._seconds(call, strategy)
        if self.aliases.get(node_pool.name, node_pool.name) != "pool0":
            seconds *= self.draw("node pool", call.name, node_pool.name, low=0.7, high=1.4)
        if self.quantum_s:
            seconds = math.ceil(seconds / self.quantum_s) * self.quantum_s
        return CallPrediction(seconds=seconds, reshard_seconds=min(reshard, seconds), origin="modelled")

    def _seconds(self, call: ModelCall, strategy: RoleStrategy) -> tuple[float, float]:
        work = self.draw("work", call.name, low=0.5, high=8.0)
        speed = strategy.layout.devices ** self.draw("power", call.name, low=0.0, high=1.2)
        if call.kind != "generate":
            shape = (str(strategy.layout), strategy.micro_batch, call.kind, strategy.recompute)
            waste = self.draw("layout", call.name, *shape, *_tokens(call, strategy), low=1.0, high=2.0)
            reload = self.draw("offload", call.name, strategy.offload, low=0.0, high=0.3)
            return work * (waste + (reload if strategy.offload != "none" else 0.0)) / speed, 0.0
        generate = strategy.generate
        assert generate is not None
        shape = (str(generate), generate.max_sequences)
        waste = self.draw("generation", *shape, *_tokens(call, strategy), low=1.0, high=2.0)
        sizes = (strategy.layout.pipeline, strategy.layout.tensor, generate.pipeline, generate.tensor)
        reshard = self.draw("reshard", *sizes, low=0.0, high=0.5)
        return work * waste / speed + reshard, reshard

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool) -> RoleMemory:
        states = self._states(role, strategy.layout)
        return RoleMemory(
            persistent=self.persistent_bytes(role, strategy.layout, node_pool, offload=strategy.offload),
            transient={
                call.name: self.transient_bytes(call, strategy, node_pool)
                for call in self.graph.calls_of(role)
                if call.kind != "generate" or strategy.generate is not None
            },
            host=sum(size for kind, size in states.items() if kind in OFFLOADED[strategy.offload]),
        )

    def persistent_bytes(
        self, role: str, layout: ParallelStrategy, node_pool: NodePool, *, offload: Offload = "none"
    ) -> dict[str, int]:
        states = self._states(role, layout)
        return {kind: size for kind, size in states.items() if kind not in OFFLOADED[offload]}

    def _states(self, role: str, layout: ParallelStrategy) -> dict[str, int]:
        share = self.draw("persistent", role, str(layout), low=2.0, high=8.0) / layout.model_parallel
        whole = int(share * self.bytes_scale * 1e9)
        if role not in self.graph.trained_roles:
            return {"parameters": whole}
        return {"parameters": whole // 3, "optimizer": whole - whole // 3}

    def transient_bytes(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> dict[str, int]:
        if call.kind == "generate":
            assert strategy.generate is not None
            shape = ("cache", str(strategy.generate), strategy.generate.max_sequences)
        else:
            shape = ("activations", str(strategy.layout), strategy.micro_batch, strategy.recompute)
        size = self.draw(call.name, *shape, *_tokens(call, strategy), low=0.1, high=4.0)
        return {shape[0]: int(size * self.bytes_scale * 1e9)}

    def draw(self, *key: object, low: float, high: float) -> float:
        known = tuple(self.aliases.get(part, part) if isinstance(part, str) else part for part in key)
        return _draw(repr((self.seed, known)), low, high)


def _layout_strategy(rows: Configurations, row: int, offload: Offload) -> RoleStrategy:
    """A strategy of a row, as if it trained: the draws tell no training layout from one of inference."""
    sizes = ("pipeline", "tensor", "data", "virtual", "context", "expert")
    return RoleStrategy(
        train=ParallelStrategy(**{name: int(getattr(rows, name)[row]) for name in sizes}),
        micro_batch=int(rows.micro_batch[row]),
        micro_batch_tokens=int(rows.micro_batch_tokens[row]) or None,
        recompute=NAMES_OF_RECOMPUTE[int(rows.recompute[row])],
        offload=offload,
    )


NAMES_OF_RECOMPUTE: dict[int, Recompute] = {code: name for name, code in RECOMPUTE.items()}


def _tokens(call: ModelCall, strategy: RoleStrategy) -> tuple[int, ...]:
    """The token budget that the call works under, if any."""
    if call.kind == "generate":
        budget = strategy.generate and strategy.generate.cache_tokens
    else:
        budget = strategy.micro_batch_tokens
    return (budget,) if budget else ()


@cache
def _draw(key: str, low: float, high: float) -> float:
    return random.Random(zlib.crc32(key.encode())).uniform(low, high)


OFFLOADED = {"none": (), "optimizer": ("optimizer",), "all": ("optimizer", "parameters")}
"""Kinds of states that live in host memory between updates."""


DEVICE: dict[str, Any] = {
    "name": "toy",
    "memory": "17 GB",
    "reserved": "1 GB",
    "peak": {"bf16": "1 TFLOP/s"},
    "memory_bandwidth": "1 GB/s",
    "link": {"bandwidth": "1 GB/s", "latency": "0 s"},
}
MODEL: dict[str, Any] = {
    "name": "toy",
    "family": "llama",
    "layers": 2,
    "hidden": 8,
    "heads": 2,
    "kv_heads": 2,
    "head_dim": 4,
    "ffn": 8,
    "vocab": 16,
}


def small_scenario(
    graph: DataflowGraph,
    *,
    pools: Sequence[tuple[int, int]] = ((1, 4),),
    prices: Sequence[float | None] | None = None,
    between: dict[str, Any] | None = None,
    model: Mapping[str, Any] = MappingProxyType({}),
    node_pool: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> Scenario:
    """One scenario for synthetic costs: a model of 2 heads and 2 layers on devices of 16 GB.

    Parameters
    ----------
    pools
        Nodes and their devices of each node pool, with as many ``prices``.
    model, node_pool
        Other fields of all models, and of all node pools.
    changes
        Other keys of the scenario.
    """
    priced = zip(pools, prices or [None] * len(pools), strict=True)
    cluster = {
        "node_pools": [_node_pool(f"pool{index}", *each, node_pool) for index, each in enumerate(priced)],
        "between": between,
    }
    settings = {
        "name": "small",
        "algorithm": "ppo",
        "models": {role: MODEL | dict(model) for role in graph.roles if role != GENERATOR},
        "cluster": cluster,
        "stack": {"training": {"name": "toy"}, "generation": {"name": "toy", "step": "0 s"}},
        "workload": {"prompts": 4, "prompt_tokens": 4, "response_tokens": 4, "mini_batches": 2},
    }
    return Scenario.model_validate(settings | changes)


def _node_pool(
    name: str, shape: tuple[int, int], price: float | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "nodes": shape[0],
        "devices_per_node": shape[1],
        "device": DEVICE,
        "network": {"bandwidth": "1 GB/s", "latency": "0 s"},
        "price": price,
        **changes,
    }


@dataclass(frozen=True)
class Case:
    """What `planner.search.solve` takes."""

    scenario: Scenario
    graph: DataflowGraph
    costs: Any

    @cached_property
    def arguments(self) -> tuple[Scenario, DataflowGraph, Any]:
        return self.scenario, self.graph, self.costs
