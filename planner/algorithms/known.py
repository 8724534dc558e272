"""The algorithms that scenarios can name, and the dataflow of a scenario."""

from dataclasses import replace

from planner.algorithms.dapo import dapo
from planner.algorithms.grpo import grpo
from planner.algorithms.ppo import ppo
from planner.algorithms.remax import remax
from planner.algorithms.rloo import rloo
from planner.algorithms.safe_rlhf import safe_rlhf
from planner.algorithms.trace import Algorithm, trace
from planner.domain.dataflow import DataflowGraph
from planner.domain.scenario import Scenario

ALGORITHMS: dict[str, Algorithm] = {
    "ppo": ppo,
    "remax": remax,
    "safe_rlhf": safe_rlhf,
    "grpo": grpo,
    "rloo": rloo,
    "dapo": dapo,
}
"""Each algorithm under the name that scenarios use."""


def dataflow_of(scenario: Scenario) -> DataflowGraph:
    """The calls of one synchronous iteration of the scenario's algorithm, its services marked."""
    name = scenario.algorithm.name
    return replace(trace(ALGORITHMS[name], name=name), services=frozenset(scenario.services))
