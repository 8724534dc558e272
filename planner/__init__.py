"""Plan and simulate reinforcement-learning post-training of LLMs.

>>> import planner
>>> scenario = planner.read_scenario("scenarios/paper/ppo-7b-8.yaml")
>>> result = planner.plan(scenario)
>>> result.plan.proof.status
'optimal'
>>> planner.timeline(result.plan).pools
('pool-0',)

Names are loaded when first used (PEP 562): a worker process that reads a plan should not load a solver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.domain.choice import Choice, read_choice
    from planner.domain.plan import Plan
    from planner.domain.reading import read_plan, read_scenario, write_plan
    from planner.domain.scenario import Scenario
    from planner.domain.simulated import Simulation
    from planner.domain.sweep import Row
    from planner.search import SearchResult
    from planner.studies.checking import check_plan
    from planner.studies.comparison import Comparison, compare
    from planner.studies.critical import Critical, critical
    from planner.studies.differences import differences
    from planner.studies.explain import CallChange, Price, explain
    from planner.studies.placements import fixed_placement
    from planner.studies.planning import SearchSettings, plan, simulate, timeline
    from planner.studies.scoring import Score, score
    from planner.studies.sensitivity import Gain, sensitivity
    from planner.studies.sweep.points import Point, sweep

_HOMES = {
    "CallChange": "planner.studies.explain",
    "Choice": "planner.domain.choice",
    "Comparison": "planner.studies.comparison",
    "Critical": "planner.studies.critical",
    "Gain": "planner.studies.sensitivity",
    "Plan": "planner.domain.plan",
    "Point": "planner.studies.sweep.points",
    "Price": "planner.studies.explain",
    "Row": "planner.domain.sweep",
    "Scenario": "planner.domain.scenario",
    "Score": "planner.studies.scoring",
    "SearchResult": "planner.search",
    "SearchSettings": "planner.studies.planning",
    "Simulation": "planner.domain.simulated",
    "check_plan": "planner.studies.checking",
    "compare": "planner.studies.comparison",
    "critical": "planner.studies.critical",
    "differences": "planner.studies.differences",
    "explain": "planner.studies.explain",
    "fixed_placement": "planner.studies.placements",
    "plan": "planner.studies.planning",
    "read_choice": "planner.domain.choice",
    "read_plan": "planner.domain.reading",
    "read_scenario": "planner.domain.reading",
    "score": "planner.studies.scoring",
    "sensitivity": "planner.studies.sensitivity",
    "simulate": "planner.studies.planning",
    "timeline": "planner.studies.planning",
    "sweep": "planner.studies.sweep.points",
    "write_plan": "planner.domain.reading",
}

__all__ = [
    "CallChange",
    "Choice",
    "Comparison",
    "Critical",
    "Gain",
    "Plan",
    "Point",
    "Price",
    "Row",
    "Scenario",
    "Score",
    "SearchResult",
    "SearchSettings",
    "Simulation",
    "check_plan",
    "compare",
    "critical",
    "differences",
    "explain",
    "fixed_placement",
    "plan",
    "read_choice",
    "read_plan",
    "read_scenario",
    "score",
    "sensitivity",
    "simulate",
    "sweep",
    "timeline",
    "write_plan",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
