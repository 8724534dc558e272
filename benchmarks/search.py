"""How long a proven optimum takes, from the scenario to the certified plan, and which part takes how long."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import planner
from benchmarks.mixes import EIGHT, SAFE_RLHF, VARIED, graph_of, mix, node_pool, sized, solved
from planner.costs import CostModel
from planner.search.objectives.fastest import Fastest
from planner.search.problem import prepare

T = TypeVar("T")

H100, L40S, A100 = "h100-sxm-80gb", "l40s-48gb", "a100-sxm-80gb"
LARGE = dict.fromkeys(SAFE_RLHF, "llama-3.1-70b")
MIXED = sized("llama-3.1-70b", "llama-3.1-8b")


def measure() -> dict[str, Any]:
    """Seconds and proof by scenario; a run to warm caches comes first."""
    _measured(mix("warm", sized("llama-3.1-8b", "llama-3.2-1b"), [node_pool(H100, 1)]))
    results = {}
    for scenario in scenarios():
        results[scenario.name] = _measured(scenario)
        print(_line(scenario.name, results[scenario.name]), flush=True)
    return results


def scenarios() -> Iterator[planner.Scenario]:
    """The sizes that the search is made for."""
    for nodes in (16, 128, 2048):
        for kind, models in (("70b", LARGE), ("mixed", MIXED)):
            yield mix(f"5-roles-{kind}-{8 * nodes}", models, [node_pool(H100, nodes)])
        yield mix(f"5-roles-varied-{8 * nodes}", MIXED, [node_pool(H100, nodes)], workload=VARIED)
    for staleness in (1, 2):
        for kind, models in (("70b", LARGE), ("mixed", MIXED)):
            name = f"6-roles-asynchronous-{staleness}-{kind}-16384"
            yield mix(name, models, [node_pool(H100, 2048)], staleness=staleness)
    for other in (L40S, A100):
        pools = [node_pool(H100, 128), node_pool(other, 128)]
        yield mix(f"5-roles-h100-{other.split('-')[0]}-2x1024", MIXED, pools)
    judges = dict.fromkeys(EIGHT, "llama-3.1-8b") | {"actor": "llama-3.1-70b", "reference": "llama-3.1-70b"}
    for nodes in (128, 2048):
        yield mix(f"8-roles-{8 * nodes}", judges, [node_pool(H100, nodes)])


def _measured(scenario: planner.Scenario) -> dict[str, Any]:
    start, cpu_start = time.perf_counter(), time.process_time()
    plan = solved(scenario)
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "seconds": round(wall_s, 2),
        "cpu_seconds": round(cpu_s, 2),
        "status": plan.proof.status,
        "objective": plan.proof.objective,
        "bound": plan.proof.bound,
        "pools": [f"{pool.devices}: {', '.join(pool.roles)}" for pool in plan.pools],
        "parts": _parts(scenario),
    }


def _parts(scenario: planner.Scenario) -> dict[str, Any]:
    """CPU seconds of the option table, of the beam, of the proof and of the runners-up, one after another.

    With staleness those of the asynchronous problem by itself. The whole search only looks below the
    synchronous plan, so that these parts may take longer than the whole.
    """
    graph = graph_of(scenario)
    table_s, problem = _timed(lambda: prepare(scenario, graph, CostModel(scenario, graph)))
    fastest = Fastest(solver="cpsat", cluster=scenario.cluster)
    beam_s, quick = _timed(lambda: fastest.quick(problem))
    proof_s, alone = _timed(lambda: fastest.plan(problem, runners_up=0))
    whole_s, _ = _timed(lambda: fastest.plan(problem))
    assert alone.answer is not None, "the whole search has found a plan"
    best_us = alone.answer.solution.objective_us
    return {
        "options": sum(len(table) for by_slot in problem.options.values() for table in by_slot.values()),
        "table_seconds": round(table_s, 2),
        "beam_seconds": round(beam_s, 2),
        "beam_above": round(quick[0].objective_us / best_us - 1, 5) if quick else None,
        "proof_seconds": round(max(0.0, proof_s - beam_s), 2),
        "runners_up_seconds": round(max(0.0, whole_s - proof_s), 2),
    }


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def _line(name: str, measured: dict[str, Any]) -> str:
    seconds = {key.removesuffix("_seconds"): part for key, part in measured["parts"].items()}
    parts = "  ".join(f"{key} {seconds[key]:6.2f}" for key in ("table", "beam", "proof", "runners_up"))
    took = f"{measured['seconds']:7.2f} s ({measured['cpu_seconds']:6.2f} of CPU)"
    found = f"{measured['status']:9s} {measured['objective']:10.3f}"
    return f"{name:38s} {took} {found}  {parts}  {measured['pools']}"
