"""Plan and simulate reinforcement-learning post-training of LLMs.

>>> import planner
>>> scenario = planner.read_scenario("scenarios/paper/ppo-7b-8.yaml")
>>> result = planner.plan(scenario)
>>> result.plan.proof.status
'optimal'
>>> planner.simulate(result.plan).pools
('pool-0',)

Names are loaded when first used (PEP 562): a worker process that reads a plan should not load a solver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.domain.plan import Plan
    from planner.domain.reading import read_plan, read_scenario, write_plan
    from planner.domain.scenario import Scenario
    from planner.search import SearchResult
    from planner.studies.planning import SearchSettings, plan, simulate

_HOMES = {
    "Plan": "planner.domain.plan",
    "Scenario": "planner.domain.scenario",
    "SearchResult": "planner.search",
    "SearchSettings": "planner.studies.planning",
    "plan": "planner.studies.planning",
    "read_plan": "planner.domain.reading",
    "read_scenario": "planner.domain.reading",
    "simulate": "planner.studies.planning",
    "write_plan": "planner.domain.reading",
}

__all__ = [
    "Plan",
    "Scenario",
    "SearchResult",
    "SearchSettings",
    "plan",
    "read_plan",
    "read_scenario",
    "simulate",
    "write_plan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
