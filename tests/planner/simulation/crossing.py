"""A plan whose data and weights cross from one node pool to another."""

from functools import lru_cache
from pathlib import Path

from planner.domain.reading import parse_scenario
from planner.studies import planning


@lru_cache
def crossing_plan(bandwidth="2 GB/s"):
    """Asynchronous GRPO on two node pools, with a judge that takes no devices."""
    device = {"devices_per_node": 4, "nodes": 1, "network": {"bandwidth": "25 GB/s", "latency": "5 us"}}
    scenario = parse_scenario(
        {
            "name": "two",
            "algorithm": "grpo",
            "models": {"actor": "llama-3.2-1b", "reference": "llama-3.2-1b"},
            "services": {"reward": {"seconds_per_sample": "50 ms", "concurrency": 8}},
            "staleness": 1,
            "pin": {"generator.node_pool": "new", "actor.node_pool": "old"},
            "cluster": {
                "node_pools": [
                    device | {"name": "old", "device": "a100-sxm-80gb"},
                    device | {"name": "new", "device": "h100-sxm-80gb"},
                ],
                "between": {"bandwidth": bandwidth, "latency": "1 ms"},
            },
            "workload": {
                "prompts": 32,
                "samples_per_prompt": 4,
                "prompt_tokens": 512,
                "response_tokens": 2048,
                "mini_batches": 4,
            },
        },
        where="two",
        relative_to=Path(),
    )
    return planning.plan(scenario).plan
