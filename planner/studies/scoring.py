"""A given choice of pools and strategies: costed, certified, and held against the best plan.

And a whole plan that was read from a file: checked before anything is said about it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.costs import CostModel
from planner.domain.choice import Choice, ChosenPool
from planner.domain.dataflow import GENERATOR, DataflowGraph
from planner.domain.pins import Pins
from planner.domain.plan import Plan, Pool, Prediction, Proof
from planner.domain.profile import Profile
from planner.domain.scenario import Scenario
from planner.errors import BrokenPlanError, SpecError
from planner.search import Violation, violations
from planner.search.answers.given import costed_plan, has_orders, orders_wait_in_circles
from planner.search.certify.fixes import fix_of
from planner.search.certify.pools import pool_violations
from planner.search.certify.schedule import order_violations
from planner.search.certify.strategies import strategy_violations
from planner.studies.checking import given_dataflow
from planner.studies.explain import Price, price
from planner.studies.planning import SearchSettings, plan, with_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A costed plan, and what it loses against the best one."""

    plan: Plan
    """Its bound is the best plan's, unless it is better than that allows."""
    against: Price
    """From the best plan that was found to this one."""
    is_outside: bool
    """Whether it is better than all plans that the search lists, so that it is none of them."""


def score(
    scenario: Scenario,
    choice: Choice | None = None,
    *,
    settings: SearchSettings | None = None,
    profiles: Sequence[Profile] = (),
) -> Score:
    """Cost and certify a choice, and hold it against the best plan of the scenario.

    Without a choice the scenario's own pins, colocate and apart are held against the scenario without them.

    Raises
    ------
    SpecError
        The choice names a role or a node pool that is not there.
    BrokenPlanError
        The choice breaks rules: all of them.
    InfeasibleError
        Nothing fits the scenario, with or without its demands.
    """
    if choice is None:
        free = scenario.model_copy(update={"pin": Pins({}), "colocate": (), "apart": ()})
        given = plan(scenario, settings=settings, profiles=profiles).plan
        is_given = given.proof.status == "optimal"
        return _against(plan(free, settings=settings, profiles=profiles).plan, given, is_given=is_given)
    given = costed(choice, scenario, profiles=profiles)
    return _against(plan(scenario, settings=settings, profiles=profiles).plan, given, is_given=True)


def costed(choice: Choice, scenario: Scenario, *, profiles: Sequence[Profile] = ()) -> Plan:
    """The plan that a choice stands for, certified; its bound says nothing about other plans.

    Raises
    ------
    SpecError, BrokenPlanError
        See `score`.
    """
    for profile in profiles:
        scenario = with_device(scenario, profile.device)
    graph = given_dataflow(scenario, is_asynchronous=any(GENERATOR in pool.roles for pool in choice.pools))
    costs = CostModel(scenario, graph, profiles=profiles)
    outline = _outline(choice, scenario, graph)
    _refuse(list(pool_violations(outline, graph)) or list(strategy_violations(outline, graph)))
    if has_orders(outline):
        _refuse(list(order_violations(outline, graph)) or list(_circles(outline, graph)))
    found = costed_plan(outline, graph, costs)
    _refuse(violations(found, graph, costs))
    return found


def _outline(choice: Choice, scenario: Scenario, graph: DataflowGraph) -> Plan:
    """The plan without its prediction, pools and roles in the order of the dataflow."""
    ranks = {role: rank for rank, role in enumerate(graph.roles)}
    chosen = sorted(choice.pools, key=lambda pool: min(ranks.get(role, len(ranks)) for role in pool.roles))
    pools = tuple(
        Pool(
            name=f"pool-{index}",
            node_pool=_node_pool(pool, scenario),
            devices=pool.devices,
            roles=tuple(sorted(pool.roles, key=lambda role: ranks.get(role, len(ranks)))),
            order=pool.order,
            ahead=pool.ahead,
        )
        for index, pool in enumerate(chosen)
    )
    nothing = Prediction(calls={}, memory={}, iteration_seconds=0, stage_cost_seconds=0, tokens_per_second=0)
    return Plan(
        scenario=scenario,
        pools=pools,
        strategies=choice.strategies,
        prediction=nothing,
        proof=Proof(solver="hand", status="feasible", time_model=scenario.time_model, objective=0, bound=0),
        idle_devices=scenario.cluster.devices - sum(pool.devices for pool in pools),
    )


def _node_pool(pool: ChosenPool, scenario: Scenario) -> str:
    names = [node_pool.name for node_pool in scenario.cluster.node_pools]
    if pool.node_pool is None and len(names) > 1:
        raise SpecError(
            f"{scenario.name}: the pool of {', '.join(pool.roles)} names no node_pool; "
            f"write one of {', '.join(names)}"
        )
    return pool.node_pool or names[0]


def _circles(outline: Plan, graph: DataflowGraph) -> Iterator[Violation]:
    if orders_wait_in_circles(outline, graph):
        yield Violation(rule="order", message="the pools' orders wait for each other within one iteration")


def _refuse(found: Sequence[Violation]) -> None:
    if found:
        raise BrokenPlanError(
            "the plan breaks rules:\n" + "\n".join(f"  {each}" for each in found),
            fix=fix_of(found),
            violations=tuple((each.rule, each.message) for each in found),
        )


def _against(best: Plan, given: Plan, *, is_given: bool) -> Score:
    """Both figures are whole numbers of the same unit, so that equal ones are equal as floats too."""
    proof, lost = given.proof, -given.proof.loss(best.proof.bound)
    if lost >= 0:
        status, solver = ("feasible", proof.solver) if lost else ("optimal", best.proof.solver)
        proof = proof.model_copy(update={"bound": best.proof.bound, "status": status, "solver": solver})
    is_same = (given.pools, given.strategies) == (best.pools, best.strategies)
    runners_up = given.runners_up or (best.runners_up if is_same else ())
    judged = given.model_copy(update={"proof": proof, "runners_up": runners_up})
    against = price(best, judged, is_given=is_given)
    return Score(plan=judged, against=against, is_outside=lost < 0)
