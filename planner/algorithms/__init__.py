"""The RL algorithms, each a plain function of the roles and the prompts; and how to trace one."""

from planner.algorithms.dapo import dapo
from planner.algorithms.grpo import grpo
from planner.algorithms.ppo import ppo
from planner.algorithms.remax import remax
from planner.algorithms.rloo import rloo
from planner.algorithms.safe_rlhf import safe_rlhf
from planner.algorithms.trace import Algorithm, trace

ALGORITHMS: dict[str, Algorithm] = {
    "ppo": ppo,
    "remax": remax,
    "safe_rlhf": safe_rlhf,
    "grpo": grpo,
    "rloo": rloo,
    "dapo": dapo,
}
"""Each algorithm under the name that scenarios use."""

__all__ = ["ALGORITHMS", "Algorithm", "dapo", "grpo", "ppo", "remax", "rloo", "safe_rlhf", "trace"]
