"""Plans that come from a file: whether they are what a search would have written."""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.algorithms import asynchronous
from planner.costs import CostModel
from planner.domain.cluster import NodePool
from planner.domain.dataflow import GENERATOR, DataflowGraph, ModelCall
from planner.domain.plan import CallPrediction, Plan, RoleMemory, RoleStrategy
from planner.domain.profile import Profile
from planner.domain.scenario import Scenario
from planner.errors import SpecError
from planner.search import violations
from planner.studies.planning import dataflow


def check_plan(plan: Plan, *, where: str, profiles: Sequence[Profile] = ()) -> None:
    """Refuse a whole plan that breaks rules or states other figures than its pools and strategies have.

    Of a plan that was made from measurements which are not at hand, the measured seconds are taken as they
    are, and all the rest is checked.

    Raises
    ------
    SpecError
        Lists every broken rule; or the plan's scenario and dataflow do not belong together.
    """
    named = {*plan.strategies, *(role for pool in plan.pools for role in pool.roles)}
    graph = given_dataflow(plan.scenario, is_asynchronous=GENERATOR in named)
    is_measured = any(call.origin != "modelled" for call in plan.prediction.calls.values())
    costs = CostModel(plan.scenario, graph, profiles=profiles if is_measured else ())
    found = violations(plan, graph, costs if profiles or not is_measured else _Measured(plan, costs))
    if found:
        raise SpecError(
            f"{where}: the plan was changed, or made by another version; plan again, or score its pools and "
            "strategies as `hybridmap plan PLAN` does. It breaks rules:\n"
            + "\n".join(f"  {each}" for each in found)
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    """Costs whose measured seconds are those that a plan states."""

    plan: Plan
    costs: CostModel

    def call(self, call: ModelCall, strategy: RoleStrategy, node_pool: NodePool, /) -> CallPrediction:
        """The plan's own where a profile had a part in it."""
        stated = self.plan.prediction.calls.get(call.name)
        is_measured = stated is not None and stated.origin != "modelled"
        return stated if stated and is_measured else self.costs.call(call, strategy, node_pool)

    def memory(self, role: str, strategy: RoleStrategy, node_pool: NodePool, /) -> RoleMemory:
        """The cost model's, of which profiles say nothing."""
        return self.costs.memory(role, strategy, node_pool)


def given_dataflow(scenario: Scenario, *, is_asynchronous: bool) -> DataflowGraph:
    """The dataflow of a plan that was given, with a generator or without.

    Raises
    ------
    SpecError
        The scenario has no staleness for a generator.
    """
    graph = dataflow(scenario)
    if not is_asynchronous:
        return graph
    if not scenario.staleness:
        raise SpecError(f"{scenario.name}: staleness: 0, but a pool has a {GENERATOR}; set it to 1 or more")
    return asynchronous(graph, scenario.staleness)
