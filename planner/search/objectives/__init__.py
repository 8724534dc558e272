"""What is minimised, made of one question: which plan takes the least time under a budget?

Seconds and tokens per second are that question itself; the fewest devices and the fewest dollars ask it again
and again (`planner.search.objectives.fewest`, `planner.search.objectives.cheapest`). ``within`` bounds the
time of all of them.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

from planner.domain.plan import Hand, Proof, Solver, Status
from planner.domain.scenario import Scenario
from planner.errors import Fix, InfeasibleError, SearchStoppedError, SpecError
from planner.search.objectives.budgets import Prices, device_prices
from planner.search.objectives.cheapest import cheapest_plan
from planner.search.objectives.fastest import ANY_TIME, Fastest, Found
from planner.search.objectives.fewest import fewest_devices
from planner.search.problem import Answer, Problem, Solution
from planner.units import HOUR_S, MICRO_DOLLAR, MICROSECOND, MILLION

ROUNDING = 1e-12
"""Of a time limit in seconds, so that a microsecond that was asked for is permitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The best plan by a scenario's objective, and the proof in the objective's whole units.

    These are microseconds for seconds and tokens per second, devices, and micro-dollars an hour times
    microseconds for dollars.
    """

    scenario: Scenario
    problem: Problem
    answer: Answer
    bound: int

    @property
    def objective(self) -> int:
        """The plan's own, in whole units."""
        return self.amount(self.answer.solution)

    def amount(self, solution: Solution) -> int:
        """A plan's objective in whole units."""
        if self.scenario.minimise == "devices":
            return device_prices(self.problem).total(solution)
        if self.scenario.minimise == "dollars":
            return dollar_prices(self.problem, self.scenario).total(solution) * solution.objective_us
        return solution.objective_us

    def figure(self, amount: int) -> float:
        """Whole units in the objective's own, dollars per million tokens."""
        tokens = self.scenario.workload.total_tokens
        if self.scenario.minimise == "devices":
            return float(amount)
        if self.scenario.minimise == "dollars":
            return amount * MICRO_DOLLAR * MICROSECOND / HOUR_S / tokens * MILLION
        seconds = round(amount * MICROSECOND, 6)
        return tokens / seconds if self.scenario.minimise == "tokens_per_second" else seconds

    @property
    def status(self) -> Status:
        return "optimal" if self.bound >= self.objective else "feasible"

    def proof(self, solver: Solver | Hand) -> Proof:
        """What a solver proved, in the objective's own unit."""
        return Proof(
            solver=solver,
            status=self.status,
            time_model=self.problem.time_model,
            minimise=self.scenario.minimise,
            objective=self.figure(self.objective),
            bound=self.figure(min(self.bound, self.objective)),
        )


def best_by_objective(
    problem: Problem, scenario: Scenario, fastest: Fastest, *, at_most_us: int = ANY_TIME
) -> Verdict | None:
    """The best plan by the scenario's objective, or none where nothing fits the devices.

    Parameters
    ----------
    at_most_us
        Longest time of interest; none where only longer ones fit.

    Raises
    ------
    InfeasibleError
        When plans fit, but none takes at most ``within``.
    SpecError
        When dollars are asked for and a node pool has no price.
    SearchStoppedError
        When the time is up before any plan was found, or known not to exist.
    """
    found = _found(problem, scenario, fastest, at_most_us)
    if found.answer is not None:
        return Verdict(scenario=scenario, problem=problem, answer=found.answer, bound=found.bound)
    if not found.is_proven and fastest.proves:
        raise SearchStoppedError
    if scenario.within is not None and at_most_us == ANY_TIME and fastest.proves:
        _refuse_within(problem, scenario, fastest)
    return None


def dollar_prices(problem: Problem, scenario: Scenario) -> Prices:
    """Micro-dollars an hour of one device of each node pool.

    Raises
    ------
    SpecError
        When a node pool has no price.
    """
    prices: dict[str, int] = {}
    for pool in scenario.cluster.node_pools:
        if pool.price is None:
            raise SpecError(
                f"{scenario.name}: cluster.node_pools.{pool.name}.price: to minimise dollars every node pool "
                "needs one; add what a device-hour costs, such as price: 2.50"
            )
        prices[pool.name] = max(1, round(pool.price / MICRO_DOLLAR))
    return Prices(problem=problem, of=MappingProxyType(prices))


def permitted_us(scenario: Scenario) -> int:
    """The longest permitted iteration, in whole microseconds."""
    if scenario.within is None:
        return ANY_TIME
    return min(ANY_TIME, math.floor(scenario.within / MICROSECOND * (1 + ROUNDING)))


def _found(problem: Problem, scenario: Scenario, fastest: Fastest, at_most_us: int) -> Found:
    within_us = min(permitted_us(scenario), at_most_us)
    if scenario.minimise == "devices":
        return fewest_devices(problem, fastest, within_us=within_us)
    if scenario.minimise == "dollars":
        return cheapest_plan(dollar_prices(problem, scenario), fastest, within_us=within_us)
    reply = fastest.plan(problem, at_most_us=within_us)
    return Found(answer=reply.answer, bound=reply.bound_us, is_proven=reply.bound_us > within_us)


def _refuse_within(problem: Problem, scenario: Scenario, fastest: Fastest) -> None:
    """Refuse a time limit that every plan exceeds; return where no plan fits, however slow."""
    reply = fastest.plan(problem, runners_up=0)
    if reply.answer is None:
        return
    seconds = reply.answer.solution.objective_us * MICROSECOND
    longer = Fix(kind="within", words=f"within: {seconds:.6f} s or more lets a plan fit")
    raise InfeasibleError(
        f"no plan for the {scenario.cluster.devices} devices of {scenario.cluster.name} takes at most "
        f"{scenario.within:g} s ({scenario.time_model}); the fastest takes {seconds:.6g} s",
        fix=longer.words,
        fixes=(longer,),
        fastest_s=seconds,
    )
