"""Small problems drawn at random, and the brute force's question for each."""

import math
import random
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from planner.algorithms import ALGORITHMS, asynchronous, trace
from planner.costs.services import service_seconds
from planner.costs.sync.crossing import crossing_seconds
from planner.domain.capabilities import Capabilities
from planner.domain.plan import Plan, Solver
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.search import certify
from planner.search.answers.assembly import assemble
from planner.search.objectives import best_by_objective
from planner.search.objectives.fastest import Fastest
from planner.search.problem import prepare
from planner.search.problem.allocation import device_counts
from tests.planner.search.brute_force import Question
from tests.planner.search.raw_options import raw_options
from tests.planner.search.toys import Case, SyntheticCosts, small_scenario

NAMES = ("ppo", "remax", "safe_rlhf", "grpo")
CLUSTERS: tuple[list[tuple[int, int]], ...] = (
    [(1, 4)],
    [(2, 2)],
    [(1, 5)],
    [(2, 3)],
    [(2, 4)],
    [(1, 2), (1, 3)],
    [(2, 2), (1, 2)],
)
"""Nodes, and devices of each, of every node pool."""
SMALLEST = tuple(pools for pools in CLUSTERS if sum(nodes * devices for nodes, devices in pools) <= 5)
"""For asynchronous problems, which have a role more."""
SCALES = (0.3, 0.6, 1.0, 1.5, 2.2, 3.0)
BARE = Capabilities(
    algorithms=NAMES,
    families=("llama",),
    precisions=("bf16",),
    moe=True,
    services=True,
    pretraining=True,
    resampling=True,
    staleness=8,
)
"""A runtime that can do little, so that few options make all of a small problem."""
VARYING = {"mean": 5, "maximum": 12}
WIDER: dict[str, dict[str, Any]] = {
    "selective": {},
    "offload": {"node_pool": {"host_memory": "8 GB"}},
    "virtual": {"model": {"layers": 4}},
    "context": {
        "lengths": {"prompt_tokens": 4, "response_tokens": 8188},
        "model": {"max_positions": 8192},
    },
    "expert": {"model": {"moe": {"experts": 2, "experts_per_token": 1, "expert_ffn": 4}}},
    "token_budgets": {"lengths": {"prompt_tokens": 4, "response_tokens": VARYING}},
    "cache_tokens": {"lengths": {"prompt_tokens": 4, "response_tokens": VARYING}},
}
"""One thing more that a runtime can do, and what of a scenario makes that count."""


@dataclass(frozen=True)
class Drawn:
    """One problem."""

    seed: int
    case: Case

    @property
    def question(self) -> Question:
        return self.asked_of(self.case.scenario)

    def asked_of(self, scenario: Scenario) -> Question:
        """The same of a variant of the scenario."""
        _, graph, costs = self.case.arguments
        return Question(
            scenario=scenario,
            graph=graph,
            costs=costs,
            counts={pool.name: device_counts(pool) for pool in scenario.cluster.node_pools},
            raw_options=partial(raw_options, scenario, graph),
            service_us={
                call.name: math.ceil(service_seconds(scenario, call) / 1e-6) for call in graph.service_calls
            },
            crossing_us=lambda wait: math.ceil(crossing_seconds(scenario, graph, wait) / 1e-6),
            interleaves=scenario.capabilities is None or scenario.capabilities.ahead,
        )

    def plan(self, solver: Solver) -> Plan | None:
        """Found, judged and certified as `planner.search.solve` does it; what would help is not asked."""
        scenario, graph, costs = self.case.arguments
        fastest = Fastest(solver=solver, cluster=scenario.cluster)
        try:
            problem = prepare(scenario, graph, costs)
            verdict = best_by_objective(problem, scenario, fastest)
        except InfeasibleError:
            return None
        if verdict is None:
            return None
        plan = assemble(verdict, graph, costs, solver=solver)
        certify(plan, graph, costs)
        return plan

    def objective(self, value: float | None) -> float | None:
        """What brute force found in the unit of the scenario's objective."""
        scenario = self.case.scenario
        if value is None or scenario.minimise != "tokens_per_second":
            return value
        return scenario.workload.total_tokens / value


def drawn(seed: int, **changes: Any) -> Drawn:
    """The problem of a seed; ``changes`` of its scenario override what is drawn."""
    draw = random.Random(seed)
    name = draw.choice(NAMES)
    services = frozenset({"reward"} if draw.random() < 0.15 else ())
    staleness = draw.choice((0, 0, 0, 0, 1, 2))
    graph = replace(trace(ALGORITHMS[name], name=name), services=services)
    if staleness:
        graph = asynchronous(graph, staleness)
    wider = draw.choice(tuple(WIDER)) if draw.random() < 0.5 else None
    able = {field: draw.random() < 0.7 for field in ("ahead", "generation_pipeline", "padding", "node_pools")}
    extra = dict(WIDER[wider]) if wider else {}
    pools = draw.choice(SMALLEST if staleness else CLUSTERS)
    few = bool(wider or staleness) or sum(nodes * devices for nodes, devices in pools) > 5
    settings: dict[str, Any] = {
        "algorithm": name,
        "pools": pools,
        "between": {"bandwidth": draw.choice(("1 GB/s", "1 kB/s")), "latency": "1 ms"},
        "time_model": "period" if staleness else draw.choice(("stage", "period", "period")),
        "staleness": staleness,
        "prices": (2.0, 0.75)[: len(pools)],
        **_objective(draw),
        "capabilities": BARE.model_copy(
            update={"empty_replicas": draw.random() < 0.8, **able, **({wider: True} if wider else {})}
        ),
        "workload": {
            "prompts": draw.choice((2, 3)) if few else draw.choice((2, 3, 4)),
            "samples_per_prompt": 2 if name == "grpo" else 1,
            "mini_batches": draw.choice((1, 2)),
            **extra.pop("lengths", {"prompt_tokens": 4, "response_tokens": 4}),
        },
        "services": {role: {"seconds_per_sample": "700 ms"} for role in services},
        **extra,
        **_demands(draw, graph.roles, few=few),
    }
    scenario = small_scenario(graph, **settings | changes)
    costs = SyntheticCosts(seed, graph, draw.choice(SCALES), quantum_s=draw.choice((0.0, 0.0, 0.5)))
    return Drawn(seed, Case(scenario, graph, costs))


def _objective(draw: random.Random) -> dict[str, Any]:
    """Mostly seconds, now and then under a limit."""
    minimise = draw.choice(("seconds",) * 6 + ("tokens_per_second", "dollars", "devices"))
    is_limited = minimise == "devices" or draw.random() < 0.15
    return {"minimise": minimise, "within": f"{draw.choice((8, 16, 32))} s" if is_limited else None}


def _demands(draw: random.Random, roles: tuple[str, ...], *, few: bool) -> dict[str, Any]:
    """A pin, roles together or apart, or a greatest pool, now and then; ``few`` leaves few options."""
    one, other = draw.sample(roles, 2)
    pins: dict[str, Any] = {f"{role}.micro_batch": 1 for role in roles} if few else {}
    demands: dict[str, dict[str, Any]] = {
        "colocate": {"colocate": ((one, other),)},
        "apart": {"apart": ((one, other),)},
        "pin": {"pin": {**pins, f"{one}.devices": draw.choice((1, 2))}},
        "maximum": {"maximum_devices": draw.choice((2, 3))},
    }
    return {"pin": pins} | (demands[draw.choice(tuple(demands))] if draw.random() < 0.3 else {})
