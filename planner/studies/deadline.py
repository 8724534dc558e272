"""What it takes to be done by a given time: the fewest nodes whose best plan finishes the job."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from planner.domain.cluster import MOST_NODES
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.simulated import JobReport
from planner.errors import EndlessJobError, InfeasibleError, SpecError
from planner.studies.planning import SearchSettings, job_of, plan

_FURTHER = 0.02
"""By how much twice the nodes must shorten a job for still more of them to be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The best plan on so many times the nodes, and what the job takes with it."""

    scenario: Scenario
    plan: Plan | None
    """None where nothing fits."""
    job: JobReport | None
    """None where nothing fits, or failures never let the job end."""
    done: bool
    """In time."""
    reason: str = ""
    """Why there is no job."""

    @property
    def devices(self) -> int:
        return self.scenario.cluster.devices

    @property
    def seconds(self) -> float:
        return self.job.seconds if self.job else float("inf")


def attempts(
    scenario: Scenario, within_s: float, *, settings: SearchSettings | None = None
) -> Iterator[Attempt]:
    """Clusters of fewer and of more nodes, until the fewest are known that finish the job in time.

    Nodes of several node pools grow alike. Nodes are doubled until the job is done in time, or twice as many
    hardly shorten it (a long response takes as long on any cluster) or fail so often that it never ends; then
    what lies between is halved.

    Raises
    ------
    SpecError
        The scenario has no job.
    """
    if scenario.job is None:
        raise SpecError(
            f"{scenario.name}: job: missing; say at least job.iterations, as --set job.iterations=500"
        )
    smallest = min(pool.nodes for pool in scenario.cluster.node_pools)
    most = MOST_NODES * smallest // max(pool.nodes for pool in scenario.cluster.node_pools)
    low, high, before = 0, 1, float("inf")
    while True:
        found = _attempt(scenario, high, smallest, within_s, settings)
        yield found
        if found.done:
            break
        is_stuck = found.seconds > (1 - _FURTHER) * before and found.seconds < float("inf")
        never_ends = found.plan is not None and found.job is None
        if high >= most or is_stuck or never_ends:
            return
        low, high, before = high, min(2 * high, most), found.seconds
    while high - low > 1:
        middle = (low + high) // 2
        found = _attempt(scenario, middle, smallest, within_s, settings)
        yield found
        low, high = (low, middle) if found.done else (middle, high)


def _attempt(
    scenario: Scenario, nodes: int, smallest: int, within_s: float, settings: SearchSettings | None
) -> Attempt:
    asked = scenario.with_node_pools(
        lambda pool: pool.model_copy(update={"nodes": max(1, round(pool.nodes * nodes / smallest))})
    )
    try:
        best = plan(asked, settings=replace(settings or SearchSettings(), fixes=False)).plan
    except InfeasibleError as error:
        return Attempt(scenario=asked, plan=None, job=None, done=False, reason=str(error))
    try:
        job = job_of(best)
    except EndlessJobError as error:
        return Attempt(scenario=asked, plan=best, job=None, done=False, reason=str(error))
    return Attempt(scenario=asked, plan=best, job=job, done=job.seconds <= within_s)
