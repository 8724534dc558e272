"""The RL algorithms, each a plain function of the roles and the prompts; and how to trace one."""

from planner.algorithms.asynchronous import asynchronous, planned_dataflow
from planner.algorithms.dapo import dapo
from planner.algorithms.grpo import grpo
from planner.algorithms.known import ALGORITHMS, dataflow_of
from planner.algorithms.ppo import ppo
from planner.algorithms.remax import remax
from planner.algorithms.rescored import rescored
from planner.algorithms.rloo import rloo
from planner.algorithms.safe_rlhf import safe_rlhf
from planner.algorithms.trace import Algorithm, trace

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "asynchronous",
    "dapo",
    "dataflow_of",
    "grpo",
    "planned_dataflow",
    "ppo",
    "remax",
    "rescored",
    "rloo",
    "safe_rlhf",
    "trace",
]
