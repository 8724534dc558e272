"""Plans of toy problems, to be broken."""

from functools import cache
from typing import Any

from planner.algorithms import ALGORITHMS, asynchronous, trace
from planner.domain.plan import Plan
from planner.search import solve
from tests.planner.search.draws import BARE
from tests.planner.search.toys import Case, SyntheticCosts, small_scenario

ABLE = BARE.model_copy(update={field: True for field, value in BARE.model_dump().items() if value is False})
"""A runtime that can do everything."""
PRICES = (2.0, 0.5)
TWO_NODES = [(2, 2)]
SOUND: dict[str, dict[str, Any]] = {
    "ppo": {
        "pools": TWO_NODES,
        "colocate": (("actor", "reference"), ("critic", "reward")),
        "apart": (("actor", "critic"),),
    },
    "free": {"time_model": "stage"},
    "grpo": {"algorithm": "grpo", "pools": TWO_NODES, "apart": (("actor", "reference"),)},
    "safe_rlhf": {"algorithm": "safe_rlhf", "pools": [(2, 4)], "apart": (("actor", "critic", "cost"),)},
    "asynchronous": {"staleness": 2, "pools": [(1, 6)]},
    "two node pools": {
        "pools": [(1, 2), (1, 2)],
        "between": {"bandwidth": "1 GB/s", "latency": "100 ms"},
        "pin": {"actor.node_pool": "pool0", "critic.node_pool": "pool1"},
    },
    "offload": {
        "pin": {"actor.offload": "optimizer", "actor.devices": 4},
        "node_pool": {"host_memory": "64 GB"},
    },
    "experts": {
        "algorithm": "remax",
        "model": {"layers": 4, "moe": {"experts": 2, "experts_per_token": 1, "expert_ffn": 4}},
        "pin": {"actor.train": "p2t1d2e2v2"},
    },
    "dollars": {"pools": [(1, 2), (1, 2)], "prices": PRICES, "minimise": "dollars"},
    "devices": {"minimise": "devices", "within": "60 s"},
    "tokens": {"minimise": "tokens_per_second"},
}
"""Scenarios whose plans are broken."""


@cache
def sound(name: str) -> tuple[Case, Plan]:
    settings = {"algorithm": "ppo", "capabilities": ABLE, **SOUND[name]}
    algorithm, staleness = settings["algorithm"], settings.get("staleness")
    graph = trace(ALGORITHMS[algorithm], name=algorithm)
    graph = asynchronous(graph, staleness) if staleness else graph
    workload = {
        "prompts": 4,
        "samples_per_prompt": 2 if algorithm == "grpo" else 1,
        "prompt_tokens": 4,
        "response_tokens": 4,
        "mini_batches": 2,
    }
    scenario = small_scenario(graph, **{"workload": workload, **settings})
    case = Case(scenario, graph, SyntheticCosts(1, graph))
    return case, solve(*case.arguments).plan
