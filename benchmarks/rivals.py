"""The default solver against other searches on the same option tables.

Simulated annealing gets ten times the default solver's seconds of CPU, HybridFlow's algorithm what it
takes. Two spaces are searched: the paper's, which has no offload, chunks, context sizes, token budgets or
smaller caches, by the stage cost, which is what that algorithm minimises; and everything, by the period.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, get_args

import planner
from benchmarks.mixes import SAFE_RLHF, graph_of, mix, node_pool
from planner.costs import CostModel
from planner.domain.capabilities import Capabilities
from planner.domain.model import Family
from planner.search.objectives.fastest import Fastest
from planner.search.objectives.fewest import fewest_devices
from planner.search.problem import Problem, prepare
from planner.search.problem.parts import whole_parts
from planner.search.solvers.annealing import Effort, anneal

COUNT = 24
DEVICES = ("h100-sxm-80gb", "a100-sxm-80gb", "l40s-48gb")
MODELS = ("llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "qwen2.5-14b", "qwen2.5-32b", "llama-3.1-70b")
ROLES = {"ppo": SAFE_RLHF[:4], "safe_rlhf": SAFE_RLHF, "grpo": ("actor", "reference", "reward")}
KINDS = ("NVLink, as few nodes as hold it", "NVLink, nodes to spare", "PCIe")
"""Over PCIe great tensor sizes are slow; Algorithm 2 must take them, as it has no more stages than nodes."""
MOST_NODES = 8
PAPER = Capabilities(
    algorithms=tuple(ROLES),
    families=get_args(Family),
    precisions=("bf16",),
    padding=True,
    empty_replicas=True,
    generation_pipeline=True,
    ahead=True,
)
"""HybridFlow's (p, t, d) and (p_g, t_g), micro-batches and recomputation of whole layers."""
SPACES: dict[str, dict[str, Any]] = {
    "paper": {"time_model": "stage", "capabilities": PAPER},
    "all": {"time_model": "period"},
}
PATIENCE = 10
"""How many times the default solver's seconds the annealing gets."""
LEAST_SECONDS = 1.0
"""What it gets at least."""


def measure() -> dict[str, Any]:
    """Objectives by mix and time model, and how far the others are above the optimum."""
    results: dict[str, Any] = {}
    for scenario, kind in mixes():
        name = scenario.name
        results[name] = {"kind": kind, "devices": scenario.cluster.devices}
        for space, changes in SPACES.items():
            results[name][space] = compared(scenario.model_copy(update=changes))
            print(name, space, results[name][space], flush=True)
    return {"mixes": results, "summary": summary(list(results.values()))}


def mixes() -> Iterator[tuple[planner.Scenario, str]]:
    """Mixes drawn at random, every other one on the fewest nodes that hold it, with their kinds."""
    generator = random.Random(0)
    for number in range(COUNT):
        algorithm = generator.choice(list(ROLES))
        policy, device = generator.choice(MODELS[2:]), generator.choice(DEVICES)
        models = {
            role: policy if role in ("actor", "reference") else generator.choice(MODELS)
            for role in ROLES[algorithm]
        }
        name = f"{number:02d}-{algorithm}-{policy}-{device.split('-')[0]}"
        workload = _workload(algorithm, generator.choice([512, 1024, 4096]))
        nodes = generator.choice([2, 4, MOST_NODES])
        most = mix(name, models, [node_pool(device, MOST_NODES)], algorithm=algorithm, workload=workload)
        fewest = _fewest_nodes(most)
        if fewest is not None:
            held = [node_pool(device, fewest if number % 2 == 0 else max(nodes, fewest))]
            kind = "PCIe" if device == "l40s-48gb" else KINDS[number % 2]
            yield mix(name, models, held, algorithm=algorithm, workload=workload), kind


def compared(scenario: planner.Scenario) -> dict[str, Any]:
    """What the three searches find, in seconds, and how long they take."""
    problem = _problem(scenario)
    start = time.process_time()
    proven = Fastest(solver="cpsat", cluster=scenario.cluster).plan(problem, runners_up=0)
    solve_s = time.process_time() - start
    assert proven.answer is not None, "the mix was chosen to fit"
    best_us = proven.answer.solution.objective_us
    effort = Effort(seconds=max(LEAST_SECONDS, PATIENCE * solve_s))
    walked = anneal(whole_parts(problem)[0], effort=effort)  # lone slots might not pack in its plans
    start = time.process_time()
    greedy = Fastest(solver="hybridflow", cluster=scenario.cluster).plan(problem, runners_up=0).answer
    greedy_s = time.process_time() - start
    return {
        "seconds": round(best_us * 1e-6, 3),
        "is_proven": proven.bound_us >= best_us,
        "solve_seconds": round(solve_s, 2),
        "annealing_above": walked and round(walked.objective_us / best_us - 1, 6),
        "annealing_seconds": round(effort.seconds or 0.0, 2),
        "hybridflow_above": greedy and round(greedy.solution.objective_us / best_us - 1, 6),
        "hybridflow_seconds": round(greedy_s, 2),
    }


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By space, rival and kind of mix: how often and how far the rival is above the optimum."""
    return {
        f"{space}, {rival}, {kind}": _spread(
            [each[space][f"{rival}_above"] for each in results if each["kind"] == kind]
        )
        for space in SPACES
        for rival in ("annealing", "hybridflow")
        for kind in KINDS
    }


def _spread(above: Sequence[float | None]) -> dict[str, Any]:
    found = sorted(part for part in above if part is not None)
    return {
        "mixes": len(above),
        "finds nothing": len(above) - len(found),
        "above": sum(part > 0 for part in found),
        "20 % above": sum(part >= 0.2 for part in found),
        "least": found[0] if found else None,
        "median": median(found) if found else None,
        "worst": found[-1] if found else None,
    }


def _fewest_nodes(scenario: planner.Scenario) -> int | None:
    """Nodes of eight devices that hold the mix in the paper's space; none where the greatest does not."""
    problem = _problem(scenario.model_copy(update=SPACES["paper"]))
    found = fewest_devices(problem, Fastest(solver="cpsat", cluster=scenario.cluster))
    return None if found.answer is None else math.ceil(found.bound / 8)


def _problem(scenario: planner.Scenario) -> Problem:
    graph = graph_of(scenario)
    return prepare(scenario, graph, CostModel(scenario, graph))


def _workload(algorithm: str, longest: int) -> dict[str, Any]:
    is_grouped = algorithm == "grpo"
    return {
        "prompts": 64 if is_grouped else 512,
        "samples_per_prompt": 8 if is_grouped else 1,
        "prompt_tokens": 512,
        "response_tokens": {"mean": longest / 2, "maximum": longest},
        "mini_batches": 4,
    }
