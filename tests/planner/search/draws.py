"""Small problems drawn at random, and the brute force's question for each."""

import random
from dataclasses import dataclass
from functools import partial
from typing import Any

from planner.algorithms import ALGORITHMS, trace
from planner.domain.capabilities import Capabilities
from planner.domain.scenario import Scenario
from planner.search.allocation import device_counts
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
SCALES = (0.3, 0.6, 1.0, 1.5, 2.2, 3.0)
BARE = Capabilities(
    algorithms=NAMES,
    families=("llama",),
    precisions=("bf16",),
    padding=True,
    empty_replicas=True,
    generation_pipeline=True,
    node_pools=True,
)
"""A runtime that can do little, so that few options make all of a small problem."""
WIDER = ("selective", "offload", "virtual", "context", "token_budgets", "cache_tokens")


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
            service_us={},
            crossing_us=lambda source, target: 0,
            interleaves=scenario.capabilities is None or scenario.capabilities.ahead,
        )


def drawn(seed: int, **changes: Any) -> Drawn:
    """The problem of a seed; ``changes`` of its scenario override what is drawn."""
    draw = random.Random(seed)
    name = draw.choice(NAMES)
    graph = trace(ALGORITHMS[name], name=name)
    wider = {draw.choice(WIDER): True} if draw.random() < 0.4 else {}
    settings: dict[str, Any] = {
        "algorithm": name,
        "pools": draw.choice(CLUSTERS),
        "time_model": draw.choice(("stage", "period")),
        "capabilities": BARE.model_copy(update={"ahead": draw.random() < 0.7, **wider}),
        "workload": {
            "prompts": draw.choice((2, 3, 4)),
            "samples_per_prompt": 2 if name == "grpo" else 1,
            "prompt_tokens": 4,
            "response_tokens": 4,
            "mini_batches": draw.choice((1, 2)),
        },
        **_demands(draw, graph.roles),
    }
    scenario = small_scenario(graph, **settings | changes)
    costs = SyntheticCosts(seed, graph, draw.choice(SCALES), quantum_s=draw.choice((0.0, 0.0, 0.5)))
    return Drawn(seed, Case(scenario, graph, costs))


def _demands(draw: random.Random, roles: tuple[str, ...]) -> dict[str, Any]:
    """A pin, roles together or apart, or a greatest pool, now and then."""
    one, other = draw.sample(roles, 2)
    demands: dict[str, Any] = {
        "colocate": {"colocate": ((one, other),)},
        "apart": {"apart": ((one, other),)},
        "pin": {"pin": {f"{one}.devices": draw.choice((1, 2))}},
        "maximum": {"maximum_devices": draw.choice((2, 3))},
    }
    return demands[draw.choice(tuple(demands))] if draw.random() < 0.3 else {}
