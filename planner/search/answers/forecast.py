"""What a solution is expected to do: the orders of its pools, its calls, and what decides its seconds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from planner.costs import stage_cost
from planner.costs.bands import Term, circle_terms, slowest_terms
from planner.costs.iteration import Circle, slowest_circle
from planner.costs.services import seconds_of_services
from planner.costs.sync.crossing import crossings, link_of
from planner.costs.uncertainty import banded_call, term_of
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph, Dependence, ModelCall
from planner.domain.plan import CallPrediction, Pool, RoleStrategy
from planner.domain.scenario import Scenario
from planner.search.costs_protocol import Costs
from planner.search.problem import PoolChoice, Problem, Solution
from planner.search.schedules.orders import orders_of


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One solution of a problem, in seconds and by name."""

    solution: Solution
    problem: Problem
    scenario: Scenario
    graph: DataflowGraph
    costs: Costs
    given: tuple[Pool, ...] = ()
    """The solution's pools with orders of their own, in the place of the best ones."""

    @cached_property
    def strategies(self) -> dict[str, RoleStrategy]:
        """Of each role."""
        return self.solution.strategies(self.problem)

    @cached_property
    def node_pools(self) -> dict[str, NodePool]:
        """Of each role."""
        cluster = self.scenario.cluster
        return {
            role: cluster.node_pool(pool.slot.node_pool)
            for pool in self.solution.pools
            for role in pool.roles
        }

    @cached_property
    def calls(self) -> dict[str, CallPrediction]:
        """Of each call that takes devices, in program order, with its band."""
        return {
            call.name: banded_call(call, self.costs.call(call, *home), *home, self.scenario)
            for call, home in self._homes()
        }

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Of each call that takes time."""
        services = seconds_of_services(self.scenario, self.graph)
        return services | {name: call.seconds for name, call in self.calls.items()}

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """With the orders of the least period, unless others are given."""
        if self.given:
            return self.given
        orders = orders_of(self.problem, self.solution.pools)
        ahead = dict(zip((call.name for call in self.problem.calls), orders.ahead, strict=True))
        return tuple(
            _pool(index, choice, [self.problem.calls[call].name for call in calls], ahead)
            for index, (choice, calls) in enumerate(zip(self.solution.pools, orders.calls, strict=True))
        )

    @cached_property
    def away(self) -> dict[Dependence, float]:
        """Seconds of what crosses from one node pool to another."""
        return crossings(self.scenario, self.graph, self._node_pool_names)

    @cached_property
    def circle(self) -> Circle:
        """What decides the period."""
        circle = slowest_circle(self.graph, self.pools, self.seconds, crossings=self.away)
        assert circle is not None, "the orders are those of a schedule"
        return circle

    @property
    def most_crossing(self) -> Dependence:
        """What takes most of the link that decides the period."""
        return max(
            (
                wait
                for wait in self.away
                if link_of(self.graph, wait, self._node_pool_names) == self.circle.link
            ),
            key=lambda wait: self.away[wait],
        )

    @cached_property
    def stage_cost(self) -> float:
        return stage_cost(self.graph, self.solution.placement, self.seconds)

    @cached_property
    def terms(self) -> dict[str, Term]:
        """Every call that takes devices as a part of a sum."""
        return {
            call.name: term_of(call, self.calls[call.name], *home, self.scenario)
            for call, home in self._homes()
        }

    @cached_property
    def deciding_terms(self) -> dict[str, Term]:
        """The calls that take devices and whose seconds add up to those of the deciding time model."""
        if self.problem.time_model == "stage":
            return slowest_terms(self.graph, self.solution.placement, self.terms)
        return circle_terms(self.circle, self.terms)

    @cached_property
    def deciding_seconds(self) -> dict[str, float]:
        """What each of those calls adds, services among them; none where a link decides."""
        if self.problem.time_model == "stage":
            return {name: term.seconds for name, term in self.deciding_terms.items()}
        names = [name for name in self.circle.calls if name in self.seconds]
        return {name: self.seconds[name] / self.circle.lag for name in names}

    @cached_property
    def _node_pool_names(self) -> dict[str, str]:
        return {role: node_pool.name for role, node_pool in self.node_pools.items()}

    def _homes(self) -> Iterator[tuple[ModelCall, tuple[RoleStrategy, NodePool]]]:
        for call in self.graph.model_calls:
            yield call, (self.strategies[call.role], self.node_pools[call.role])


def _pool(index: int, choice: PoolChoice, order: Sequence[str], ahead: Mapping[str, int]) -> Pool:
    return Pool(
        name=f"pool-{index}",
        node_pool=choice.slot.node_pool,
        devices=choice.slot.devices,
        roles=choice.roles,
        order=tuple(order),
        ahead={name: ahead[name] for name in order if ahead[name]},
    )
