"""How long each solver takes on the paper's scenarios, and what it finds."""

from typing import Any, get_args

import planner
from planner.domain.plan import Solver
from planner.domain.reading import scenario_files


def measure() -> dict[str, Any]:
    """Seconds, option table included, and objective by scenario and solver."""
    results: dict[str, Any] = {}
    for path in scenario_files():
        if "paper" not in path.parts:
            continue
        scenario = planner.read_scenario(path)
        results[path.stem] = {solver: _solved(scenario, solver) for solver in get_args(Solver)}
        print(path.stem, results[path.stem], flush=True)
    return results


def _solved(scenario: planner.Scenario, solver: Solver) -> dict[str, Any]:
    result = planner.plan(scenario, settings=planner.SearchSettings(solver=solver))
    proof = result.plan.proof
    return {
        "solve_seconds": round(result.solve_seconds, 3),
        "objective": proof.objective,
        "status": proof.status,
    }
