"""Small problems with synthetic costs, and the paper's with real ones."""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph, ModelCall
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import CallPrediction, RoleMemory, RoleStrategy
from planner.domain.reading import read_scenario
from planner.domain.scenario import Scenario

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class SyntheticCosts:
    """Seconds and bytes drawn at random, the same for the same seed, call and layout.

    Seconds of a call fall with some power of the devices, from not at all to in proportion, so that sharing
    devices pays for some draws and splitting them for others.
    """

    seed: int
    graph: DataflowGraph
    bytes_scale: float = 1.0

    def foresee(self, role: str, strategies: list[RoleStrategy], node_pool: NodePool) -> None:
        """Each draw is as cheap alone."""

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> CallPrediction:
        devices = strategy.layout.devices
        work = self.draw("work", call.name, low=0.5, high=8.0)
        speed = devices ** self.draw("power", call.name, low=0.0, high=1.2)
        if call.kind != "generate":
            shape = (str(strategy.layout), strategy.micro_batch, call.kind, strategy.recompute)
            waste = self.draw("layout", call.name, *shape, low=1.0, high=2.0)
            return CallPrediction(seconds=work * waste / speed, origin="modelled")
        generate = strategy.generate
        assert generate is not None
        waste = self.draw("generation", str(generate), generate.max_sequences, low=1.0, high=2.0)
        sizes = (strategy.layout.pipeline, strategy.layout.tensor, generate.pipeline, generate.tensor)
        reshard = self.draw("reshard", *sizes, low=0.0, high=0.5)
        return CallPrediction(
            seconds=work * waste / speed + reshard, reshard_seconds=reshard, origin="modelled"
        )

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool) -> RoleMemory:
        return RoleMemory(
            persistent=self.persistent_bytes(role, strategy.layout, node_pool),
            transient={
                call.name: self.transient_bytes(call, strategy, node_pool)
                for call in self.graph.calls_of(role)
            },
        )

    def persistent_bytes(self, role: str, layout: ParallelStrategy, node_pool: NodePool) -> dict[str, int]:
        share = self.draw("persistent", role, str(layout), low=2.0, high=8.0) / layout.model_parallel
        return {"parameters": int(share * self.bytes_scale * 1e9)}

    def transient_bytes(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool) -> dict[str, int]:
        if call.kind == "generate":
            assert strategy.generate is not None
            shape = ("cache", str(strategy.generate), strategy.generate.max_sequences)
        else:
            shape = ("activations", str(strategy.layout), strategy.micro_batch, strategy.recompute)
        size = self.draw(call.name, *shape, low=0.1, high=4.0)
        return {shape[0]: int(size * self.bytes_scale * 1e9)}

    def draw(self, *key: object, low: float, high: float) -> float:
        generator = random.Random(zlib.crc32(repr((self.seed, key)).encode()))
        return generator.uniform(low, high)


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


PPO = trace(ALGORITHMS["ppo"], name="ppo")


@pytest.fixture(scope="session")
def synthetic() -> Callable[..., Case]:
    """A small problem by its seed."""

    def build(seed: int, *, graph: DataflowGraph = PPO, bytes_scale: float = 1.0, **changes: Any) -> Case:
        scenario = small_scenario(graph, **changes)
        return Case(scenario, graph, SyntheticCosts(seed, graph, bytes_scale))

    return build


@pytest.fixture(scope="session")
def paper() -> Callable[..., Case]:
    """A scenario of the paper with the real costs; ``nodes`` changes its cluster."""

    def build(name: str, *, nodes: int | None = None, memory: int | None = None, **changes: Any) -> Case:
        scenario = read_scenario(ROOT / "scenarios" / "paper" / f"ppo-{name}.yaml")
        (pool,) = scenario.cluster.node_pools
        device = pool.device.model_copy(update={"memory": memory or pool.device.memory})
        pool = pool.model_copy(update={"nodes": nodes or pool.nodes, "device": device})
        cluster = scenario.cluster.model_copy(update={"node_pools": (pool,)})
        scenario = scenario.model_copy(update={"cluster": cluster, **changes})
        return Case(scenario, PPO, CostModel(scenario, PPO))

    return build
