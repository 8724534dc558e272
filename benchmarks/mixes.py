"""Scenarios to search: mixes of algorithms, models and clusters."""

from pathlib import Path
from typing import Any

import planner
from planner.algorithms import asynchronous, trace
from planner.algorithms.trace import Batch, Roles
from planner.costs import CostModel
from planner.domain.dataflow import DataflowGraph
from planner.domain.reading import parse_scenario
from planner.search import solve
from planner.studies.planning import dataflow

PRICES = {"h100-sxm-80gb": 2.25, "a100-sxm-80gb": 1.35, "l40s-48gb": 0.87}
"""Dollars per device-hour, of December 2025 (aihardwareindex.com)."""
NETWORKS: dict[str, dict[str, Any]] = {
    "h100-sxm-80gb": {"network": {"bandwidth": "400 GB/s", "latency": "8 us"}, "rails": 8},
    "a100-sxm-80gb": {"network": {"bandwidth": "200 GB/s", "latency": "8 us"}, "rails": 8},
    "l40s-48gb": {"network": {"bandwidth": "400 Gbit/s", "latency": "10 us"}},
}
SAFE_RLHF = ("actor", "critic", "reference", "reward", "cost")
EIGHT = ("actor", "critic", "guardian", "reference", "reward", "cost", "judge", "verifier")


def node_pool(device: str, nodes: int) -> dict[str, Any]:
    """So many nodes of eight devices."""
    return {
        "name": device.split("-")[0],
        "nodes": nodes,
        "devices_per_node": 8,
        "device": device,
        "host_memory": "2 TiB",
        "price": PRICES[device],
        **NETWORKS[device],
    }


VARIED = {
    "prompts": 1024,
    "prompt_tokens": 1024,
    "response_tokens": {"mean": 1024, "maximum": 2048},
    "mini_batches": 8,
}
"""Lengths that vary, which adds token budgets and smaller caches to the options."""


def mix(
    name: str, models: dict[str, str], node_pools: list[dict[str, Any]], **changes: Any
) -> planner.Scenario:
    """A scenario of Safe-RLHF, or of what the changes say."""
    settings = {
        "name": name,
        "algorithm": "safe_rlhf",
        "models": models,
        "cluster": {"name": name, "node_pools": node_pools},
        "workload": {
            "prompts": 1024,
            "prompt_tokens": 1024,
            "response_tokens": 1024,
            "mini_batches": 8,
        },
    }
    return parse_scenario(settings | changes, where="benchmarks", relative_to=Path())


def sized(large: str, small: str) -> dict[str, str]:
    """Safe-RLHF's models: a large policy with its reference, and small judges."""
    return {role: large if role in ("actor", "reference") else small for role in SAFE_RLHF}


def many_judges(roles: Roles, prompts: Batch) -> None:
    """Eight roles: PPO on the verdicts of three judges, and a second critic that learns those of a fourth."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reference.logprobs(batch)
    judged = batch | roles.critic.values(batch) | roles.reward.scores(batch) | roles.cost.costs(batch)
    judged = roles.controller.advantages(judged | roles.judge.baselines(batch), estimator="lagrangian")
    guarded = batch | roles.guardian.values(batch) | roles.verifier.scores(batch)
    guarded = roles.controller.advantages(guarded, estimator="gae")
    roles.critic.update(judged, loss="value")
    roles.guardian.update(guarded, loss="value")
    roles.actor.update(judged, loss="ppo")


def graph_of(scenario: planner.Scenario) -> DataflowGraph:
    """The scenario's dataflow, asynchronous with staleness; `many_judges` where it has their models."""
    if set(scenario.models) == set(EIGHT):
        return trace(many_judges, name="many_judges")
    graph = dataflow(scenario)
    return asynchronous(graph, scenario.staleness) if scenario.staleness else graph


def solved(scenario: planner.Scenario) -> planner.Plan:
    """The scenario's plan, as the command line finds it."""
    if set(scenario.models) != set(EIGHT):
        return planner.plan(scenario).plan
    graph = graph_of(scenario)
    return solve(scenario, graph, CostModel(scenario, graph)).plan
