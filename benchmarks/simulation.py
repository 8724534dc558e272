"""How long simulating one iteration of PPO takes, generation event by event."""

import statistics
import time
from typing import Any

import planner
from planner.domain.lengths import TokenLengths
from planner.domain.scenario import Scenario

REPEATS = 7
VARIED = TokenLengths(mean=512, maximum=1024)
QUICK = planner.SearchSettings(runners_up=0)


def measure() -> dict[str, Any]:
    """CPU milliseconds of a simulated iteration; a plan's first simulation, with its tables cold, apart."""
    results = {}
    for name, scenario in scenarios().items():
        results[name] = _measured(planner.plan(scenario, settings=QUICK).plan)
        print(name, results[name], flush=True)
    return results


def scenarios() -> dict[str, Scenario]:
    """The paper's PPO of 7B on 128 devices; and on 16,384 with as many responses; lengths equal or not."""
    small = planner.read_scenario("scenarios/paper/ppo-7b-128.yaml")
    large = small.with_node_pools(lambda pool: pool.model_copy(update={"nodes": 2048}))
    large = _with_work(large, prompts=16384)
    return {
        "ppo-7b-128": small,
        "ppo-7b-128, lengths vary": _with_work(small, response_tokens=VARIED),
        "ppo-7b-16384": large,
        "ppo-7b-16384, lengths vary": _with_work(large, response_tokens=VARIED),
    }


def _with_work(scenario: Scenario, **changes: Any) -> Scenario:
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update=changes)})


def _measured(plan: planner.Plan) -> dict[str, Any]:
    first_ms = _milliseconds(plan)
    return {
        "milliseconds": round(statistics.median(_milliseconds(plan) for _ in range(REPEATS)), 1),
        "first_milliseconds": round(first_ms, 1),
        "responses": plan.scenario.workload.samples,
        "devices": plan.used_devices,
        "iteration_seconds": planner.simulate(plan, iterations=1).iteration_seconds,
        "predicted_seconds": plan.prediction.iteration_seconds,
    }


def _milliseconds(plan: planner.Plan) -> float:
    start = time.process_time()
    planner.simulate(plan, iterations=1)
    return 1000 * (time.process_time() - start)
