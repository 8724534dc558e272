"""The RL algorithms, each a plain function of the roles and the prompts; and how to trace one."""

from planner.algorithms.asynchronous import asynchronous, planned_dataflow
from planner.algorithms.dapo import dapo
from planner.algorithms.dr_grpo import dr_grpo
from planner.algorithms.grpo import grpo
from planner.algorithms.gspo import gspo
from planner.algorithms.known import ALGORITHMS, algorithm_of, dataflow_of, program_of
from planner.algorithms.ppo import ppo
from planner.algorithms.reinforce_plus_plus import reinforce_plus_plus
from planner.algorithms.remax import remax
from planner.algorithms.rescored import rescored
from planner.algorithms.rloo import rloo
from planner.algorithms.safe_rlhf import safe_rlhf
from planner.algorithms.trace import Algorithm, trace

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "algorithm_of",
    "asynchronous",
    "dapo",
    "dataflow_of",
    "dr_grpo",
    "grpo",
    "gspo",
    "planned_dataflow",
    "ppo",
    "program_of",
    "reinforce_plus_plus",
    "remax",
    "rescored",
    "rloo",
    "safe_rlhf",
    "trace",
]
