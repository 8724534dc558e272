"""The RL algorithms, each a plain function of the roles and the prompts; and how to trace one."""

from planner.algorithms.ppo import ppo
from planner.algorithms.trace import Algorithm, trace

ALGORITHMS: dict[str, Algorithm] = {"ppo": ppo}
"""Each algorithm under the name that scenarios use."""

__all__ = ["ALGORITHMS", "Algorithm", "ppo", "trace"]
