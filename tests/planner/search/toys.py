"""Toy problems: synthetic costs of a model of two layers and two heads."""

import math
import random
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from planner.algorithms import ALGORITHMS, trace
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph, ModelCall
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import CallPrediction, Offload, RoleMemory, RoleStrategy
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

    def foresee(self, role: str, strategies: list[RoleStrategy], node_pool: NodePool) -> None:
        """Each draw is as cheap alone."""

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> CallPrediction:
        seconds, reshard = self._seconds(call, strategy)
        if node_pool.name != "pool0":
            seconds *= self.draw("node pool", call.name, node_pool.name, low=0.7, high=1.4)
        if self.quantum_s:
            seconds = math.ceil(seconds / self.quantum_s) * self.quantum_s
        return CallPrediction(seconds=seconds, reshard_seconds=min(reshard, seconds), origin="modelled")

    def _seconds(self, call: ModelCall, strategy: RoleStrategy) -> tuple[float, float]:
        work = self.draw("work", call.name, low=0.5, high=8.0)
        speed = strategy.layout.devices ** self.draw("power", call.name, low=0.0, high=1.2)
        if call.kind != "generate":
            shape = (str(strategy.layout), strategy.micro_batch, call.kind, strategy.recompute)
            waste = self.draw("layout", call.name, *shape, *_tokens(strategy), low=1.0, high=2.0)
            reload = self.draw("offload", call.name, strategy.offload, low=0.0, high=0.3)
            return work * (waste + (reload if strategy.offload != "none" else 0.0)) / speed, 0.0
        generate = strategy.generate
        assert generate is not None
        shape = (str(generate), generate.max_sequences)
        waste = self.draw("generation", *shape, *_tokens(strategy), low=1.0, high=2.0)
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
        size = self.draw(call.name, *shape, *_tokens(strategy), low=0.1, high=4.0)
        return {shape[0]: int(size * self.bytes_scale * 1e9)}

    def draw(self, *key: object, low: float, high: float) -> float:
        return _draw(repr((self.seed, key)), low, high)


def _tokens(strategy: RoleStrategy) -> tuple[int, ...]:
    """Token budgets, where there are any."""
    budgets = (strategy.micro_batch_tokens, strategy.generate and strategy.generate.cache_tokens)
    return tuple(budget for budget in budgets if budget)


@cache
def _draw(key: str, low: float, high: float) -> float:
    return random.Random(zlib.crc32(key.encode())).uniform(low, high)


OFFLOADED = {"none": (), "optimizer": ("optimizer",), "all": ("optimizer", "parameters")}
"""Kinds of states that live in host memory between updates."""


def small_scenario(graph: DataflowGraph, **changes: Any) -> Scenario:
    """One scenario for synthetic costs: a model of 2 heads and 2 layers on devices of 16 GB."""
    device = {
        "name": "toy",
        "memory": "17 GB",
        "reserved": "1 GB",
        "peak": {"bf16": "1 TFLOP/s"},
        "memory_bandwidth": "1 GB/s",
        "link": {"bandwidth": "1 GB/s", "latency": "0 s"},
    }
    model = {
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
    pools = changes.pop("pools", [(1, 4)])
    settings = {
        "name": "small",
        "algorithm": "ppo",
        "models": dict.fromkeys(graph.roles, model),
        "cluster": {
            "node_pools": [
                {
                    "name": f"pool{index}",
                    "nodes": nodes,
                    "devices_per_node": per_node,
                    "device": device,
                    "network": {"bandwidth": "1 GB/s", "latency": "0 s"},
                }
                for index, (nodes, per_node) in enumerate(pools)
            ]
        },
        "stack": {"training": {"name": "toy"}, "generation": {"name": "toy", "step": "0 s"}},
        "workload": {"prompts": 4, "prompt_tokens": 4, "response_tokens": 4, "mini_batches": 2},
    }
    return Scenario.model_validate(settings | changes)


@dataclass(frozen=True)
class Case:
    """What `planner.search.solve` takes."""

    scenario: Scenario
    graph: DataflowGraph
    costs: Any

    @cached_property
    def arguments(self) -> tuple[Scenario, DataflowGraph, Any]:
        return self.scenario, self.graph, self.costs
