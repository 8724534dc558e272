"""The RL algorithms, each a plain function of the roles and the prompts; and how to trace one."""

from planner.algorithms.asynchronous import asynchronous, planned_dataflow
from planner.algorithms.known import ALGORITHMS, dataflow_of
from planner.algorithms.trace import Algorithm, trace

__all__ = ["ALGORITHMS", "Algorithm", "asynchronous", "dataflow_of", "planned_dataflow", "trace"]
