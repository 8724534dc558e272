"""Whether two plans' stage costs differ by more than their common band."""

from collections.abc import Collection

from planner.costs.bands import Term, difference_half_width, slowest_terms, ties
from planner.costs.uncertainty import term_of
from planner.domain.plan import Plan
from planner.studies.planning import dataflow


def tie(one: Plan, other: Plan) -> bool:
    """Whether the difference of the stage costs lies inside its band, and within 5 % of the first's."""
    width = difference_half_width(_terms(one), _terms(other))
    return ties(one.prediction.stage_cost_seconds, other.prediction.stage_cost_seconds, width)


def _terms(plan: Plan) -> Collection[Term]:
    """What the plan's stage cost is the sum of."""
    scenario, graph = plan.scenario, dataflow(plan.scenario)
    terms = {}
    for call in graph.model_calls:
        node_pool = plan.node_pool_of(call.role)
        strategy, predicted = plan.strategies[call.role], plan.prediction.calls[call.name]
        terms[call.name] = term_of(call, predicted, strategy, node_pool, scenario)
    return slowest_terms(graph, plan.placement, terms).values()
