"""Whether a point of a sweep is a scenario at all, known before any solver is loaded."""

from planner.algorithms import dataflow_of
from planner.costs import CostModel
from planner.domain.contradictions import check_roles
from planner.domain.scenario import Scenario


def check_scenario(scenario: Scenario, *, where: str) -> None:
    """Refuse a scenario that no plan can be costed for.

    Raises
    ------
    SpecError
        Its models are not those of its algorithm's roles, or its precision is none of its devices'.
    """
    graph = dataflow_of(scenario)
    check_roles(scenario, graph, where=where)
    costs = CostModel(scenario, graph)
    for node_pool in scenario.cluster.node_pools:
        for role in graph.roles:
            costs.setting(role, node_pool)
