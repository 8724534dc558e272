"""Predictions at fixed points, pinned; `python -m tests.planner.test_pinned_predictions` writes them anew.

A change here is a change of accuracy: it belongs in one commit with the tables of docs/validation.md.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.costs.kernels.attention import backward_attention_seconds, prefill_attention_seconds
from planner.costs.kernels.decode_attention import decode_attention_seconds
from planner.costs.kernels.gemm import gemm_backward_seconds, gemm_seconds
from planner.costs.links.channels import channel
from planner.costs.links.collectives import (
    all_gather_seconds,
    all_reduce_seconds,
    all_to_all_seconds,
    reduce_scatter_seconds,
    send_seconds,
)
from planner.domain.catalog import read_device
from planner.domain.cluster import NodePool
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.reading import parse_scenario
from planner.domain.text import dump_json, write_text

GOLDEN = Path(__file__).parents[1] / "golden" / "predictions.json"
TOLERANCE = 1e-9
DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "b200-sxm-180gb", "l40s-48gb")
PPO = trace(ALGORITHMS["ppo"], name="ppo")

Points = dict[str, float]


def gemms() -> Points:
    shapes = ((1, 4096, 4096), (64, 6144, 4096), (512, 1024, 8192), (4096, 4096, 14336), (8192, 28672, 8192))
    found = {}
    for name in DEVICES:
        for m, n, k in shapes:
            device = read_device(name)
            found[f"{name} {m} {n} {k}"] = float(gemm_seconds(device, m, n, k))
            found[f"{name} {m} {n} {k} backward"] = float(gemm_backward_seconds(device, m, n, k))
    return found


def attentions() -> Points:
    found = {}
    for name in DEVICES:
        device = read_device(name)
        for sequences, tokens in ((1, 512), (4, 4096), (1, 32768)):
            work = {"sequences": sequences, "tokens": tokens, "heads": 32, "kv_heads": 8, "head_dim": 128}
            found[f"{name} prefill {sequences} {tokens}"] = float(prefill_attention_seconds(device, **work))
            found[f"{name} backward {sequences} {tokens}"] = float(backward_attention_seconds(device, **work))
        for sequences, context in ((1, 1024), (64, 2048), (256, 8192)):
            decode = {"sequences": sequences, "context": context, "heads": 32, "kv_heads": 8, "head_dim": 128}
            found[f"{name} decode {sequences} {context}"] = float(decode_attention_seconds(device, **decode))
    return found


def collectives() -> Points:
    operations = {
        "all-gather": all_gather_seconds,
        "reduce-scatter": reduce_scatter_seconds,
        "all-reduce": all_reduce_seconds,
        "all-to-all": all_to_all_seconds,
        "send": send_seconds,
    }
    found = {}
    for name in DEVICES:
        for size, stride in ((2, 1), (8, 1), (32, 1), (4, 8)):
            on = channel(nodes(name), size=size, stride=stride, devices=32)
            for operation, seconds in operations.items():
                for power in (12, 20, 28):
                    point = f"{name} {operation} of {size}, {stride} apart, 2^{power} bytes"
                    found[point] = float(seconds(on, 2.0**power))
    return found


def nodes(device: str) -> NodePool:
    """Four nodes of eight."""
    network = {"bandwidth": "50 GB/s", "latency": "5 us"}
    words = {"name": "pool", "nodes": 4, "devices_per_node": 8, "network": network}
    return NodePool.model_validate({**words, "device": read_device(device)})


def calls() -> Points:
    """Seconds of updates, forward passes, generation and resharding."""
    found = {}
    for point, model, strategy, costs in placed():
        for name in ("actor.generate", "reference.logprobs", "actor.update"):
            predicted = costs.call(PPO.call(name), strategy, costs.scenario.cluster.node_pools[0])
            found[f"{point} {model} {strategy} {name}"] = predicted.seconds
            if predicted.reshard_seconds:
                found[f"{point} {model} {strategy} reshard"] = predicted.reshard_seconds
    return found


def memory() -> Points:
    """Bytes by kind."""
    found: Points = {}
    for point, model, strategy, costs in placed():
        of = costs.memory("actor", strategy, costs.scenario.cluster.node_pools[0])
        parts = {"persistent": of.persistent, **of.transient}
        found |= {
            f"{point} {model} {strategy} {part} {kind}": float(size)
            for part, kinds in parts.items()
            for kind, size in kinds.items()
        }
    return found


def placed():
    """(cluster, model, strategy, costs) of a few scenarios and layouts of 32 devices."""
    layouts = (
        (
            ParallelStrategy(tensor=2, data=16),
            GenerationStrategy(tensor=1, replicas=32, max_sequences=32),
            "none",
        ),
        (
            ParallelStrategy(pipeline=2, tensor=4, data=4),
            GenerationStrategy(tensor=4, replicas=8, max_sequences=64),
            "full",
        ),
    )
    for device in ("a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb"):
        for model in ("llama-2-7b", "qwen2.5-32b"):
            words = {
                "name": "pinned",
                "algorithm": "ppo",
                "models": dict.fromkeys(PPO.roles, model),
                "cluster": f"4x8x{device}",
                "workload": {
                    "prompts": 512,
                    "prompt_tokens": 1024,
                    "response_tokens": {"mean": 1024, "maximum": 3072},
                    "mini_batches": 4,
                },
            }
            scenario = parse_scenario(words, where="pinned", relative_to=Path())
            for train, generate, recompute in layouts:
                strategy = RoleStrategy(train=train, generate=generate, micro_batch=2, recompute=recompute)
                yield device, model, strategy, CostModel(scenario, PPO)


PARTS: dict[str, Callable[[], Points]] = {
    "gemm": gemms,
    "attention": attentions,
    "collectives": collectives,
    "calls": calls,
    "memory": memory,
}


@pytest.mark.parametrize("part", PARTS)
def test_predictions_are_the_pinned_ones(part: str) -> None:
    pinned, found = json.loads(GOLDEN.read_text())[part], PARTS[part]()
    assert set(found) == set(pinned)
    moved = {
        point: f"{pinned[point]:.6g}, now {value:.6g}"
        for point, value in found.items()
        if value != pytest.approx(pinned[point], rel=TOLERANCE, abs=0)
    }
    assert not moved


if __name__ == "__main__":
    write_text(GOLDEN, dump_json({part: points() for part, points in PARTS.items()}))
