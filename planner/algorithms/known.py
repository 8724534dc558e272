"""The algorithms that scenarios can name, and the dataflow of a scenario."""

from dataclasses import replace

from planner.algorithms.dapo import dapo
from planner.algorithms.dr_grpo import dr_grpo
from planner.algorithms.extended import extended
from planner.algorithms.grpo import grpo
from planner.algorithms.gspo import gspo
from planner.algorithms.ppo import ppo
from planner.algorithms.reinforce_plus_plus import reinforce_plus_plus
from planner.algorithms.remax import remax
from planner.algorithms.rloo import rloo
from planner.algorithms.safe_rlhf import safe_rlhf
from planner.algorithms.trace import Algorithm, trace
from planner.domain.algorithm import AlgorithmOptions
from planner.domain.dataflow import REFERENCE, DataflowGraph
from planner.domain.scenario import Scenario

ALGORITHMS: dict[str, Algorithm] = {
    "ppo": ppo,
    "remax": remax,
    "safe_rlhf": safe_rlhf,
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_plus_plus": reinforce_plus_plus,
    "dapo": dapo,
    "gspo": gspo,
}
"""Each algorithm under the name that scenarios use."""


def algorithm_of(options: AlgorithmOptions, *, has_reference: bool = True) -> Algorithm:
    """The program of an algorithm under its options, for both interpreters: what is traced is what is run.

    Parameters
    ----------
    has_reference
        Whether there is a reference that could be asked where no divergence is charged.
    """
    return extended(ALGORITHMS[options.name], options, has_reference=has_reference)


def program_of(scenario: Scenario) -> Algorithm:
    """The program of a scenario's algorithm."""
    has_reference = REFERENCE in scenario.models or REFERENCE in scenario.services
    return algorithm_of(scenario.algorithm, has_reference=has_reference)


def dataflow_of(scenario: Scenario) -> DataflowGraph:
    """The calls of one synchronous iteration of the scenario's algorithm, its services marked."""
    graph = trace(program_of(scenario), name=scenario.algorithm.name)
    return replace(graph, services=frozenset(scenario.services))
