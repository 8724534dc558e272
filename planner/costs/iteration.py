"""Cost of a whole iteration from its calls'."""

from collections.abc import Mapping, Sequence

from planner.domain.dataflow import DataflowGraph
from planner.domain.scenario import Scenario


def stage_cost(graph: DataflowGraph, pools: Sequence[tuple[str, ...]], seconds: Mapping[str, float]) -> float:
    """The paper's d_cost (HybridFlow, algorithm 1, lines 25 to 34).

    The sum over stages of the maximum over pools of the sum over the pool's calls in that stage.

    Parameters
    ----------
    pools
        Roles of each pool.
    seconds
        Seconds of each model call, by its name.
    """
    return sum(
        max(sum(seconds[call.name] for call in stage if call.role in pool) for pool in pools)
        for stage in graph.stages
    )


def tokens_per_second(scenario: Scenario, iteration_seconds: float) -> float:
    """Prompt and response tokens of all samples over the iteration (HybridFlow, section 8.1)."""
    return scenario.workload.total_tokens / iteration_seconds
