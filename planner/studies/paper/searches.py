"""Figure 16: seconds of one search, by size and devices, measured where this runs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from planner.studies.paper.published import SEARCH_SECONDS, Size
from planner.studies.paper.questions import paper_scenario
from planner.studies.planning import SearchSettings, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search, its proof included."""

    size: Size
    devices: int
    published: float
    seconds: float


def searches() -> Iterator[Search]:
    """Each of the figure's, of PPO."""
    for (size, devices), published in SEARCH_SECONDS.items():
        scenario = paper_scenario("ppo", size, devices)
        start = time.perf_counter()
        plan(scenario, settings=SearchSettings(runners_up=0))
        yield Search(size=size, devices=devices, published=published, seconds=time.perf_counter() - start)
