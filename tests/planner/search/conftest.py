"""Small problems with synthetic costs, and the paper's with real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.costs import CostModel
from planner.domain.dataflow import DataflowGraph
from planner.domain.reading import read_scenario
from tests.planner.search.toys import PPO, Case, SyntheticCosts, small_scenario

ROOT = Path(__file__).resolve().parents[3]


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
