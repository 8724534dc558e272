"""``hybridmap plan``: the best placement and strategies of a scenario, with a proof."""

import argparse
import math
from pathlib import Path
from typing import Any

import planner
from hybridmap import inputs, screen
from planner.reporting.tables import plan_report


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("plan", help="choose placement and parallel sizes, with a proof")
    inputs.add_scenario(parser)
    add_search(parser)
    parser.add_argument("--out", type=Path, metavar="PLAN", help="write the plan to this file (JSON)")
    screen.add_json(parser)
    parser.set_defaults(command=plan)


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the options of the search."""
    parser.add_argument("--solver", choices=("cpsat", "exhaustive", "hybridflow"), default="cpsat")
    parser.add_argument("--time-limit", type=_positive, metavar="SECONDS", help="stop early, with a bound")
    parser.add_argument("--seed", type=int, default=0)


def plan(options: argparse.Namespace) -> None:
    """Plan, show, and write."""
    scenario = inputs.scenario_of(options)
    with screen.errors_console().status(f"planning {scenario.cluster.devices} devices ..."):
        result = planner.plan(scenario, settings=search_settings(options))
    screen.show(options, plan_report(result.plan, solve_seconds=result.solve_seconds))
    screen.answer(options, plan_answer(result))
    if options.out:
        planner.write_plan(result.plan, options.out)


def search_settings(options: argparse.Namespace) -> planner.SearchSettings:
    """How the command line wants the search done."""
    return planner.SearchSettings(solver=options.solver, time_limit_s=options.time_limit, seed=options.seed)


def plan_answer(result: planner.SearchResult) -> dict[str, Any]:
    """The JSON object of ``plan --json``."""
    plan = result.plan.model_dump(mode="json")
    prediction, proof = plan["prediction"], plan["proof"]
    return {
        "status": proof["status"],
        "solver": proof["solver"],
        "objective": proof["objective"],
        "bound": proof["bound"],
        "solve_seconds": result.solve_seconds,
        "iteration_seconds": prediction["iteration_seconds"],
        "error_band": error_band(result.plan),
        "stage_cost_seconds": prediction["stage_cost_seconds"],
        "tokens_per_second": prediction["tokens_per_second"],
        "calls": prediction["calls"],
        "memory": prediction["memory"],
        "pools": plan["pools"],
        "strategies": plan["strategies"],
        "idle_devices": plan["idle_devices"],
        "runners_up": plan["runners_up"],
    }


def error_band(plan: planner.Plan) -> dict[str, Any]:
    """The 90 % band of the plan's seconds and bytes, and what lies outside of what was calibrated."""
    of = plan.prediction
    calls = {
        name: {"seconds": [call.seconds_low, call.seconds_high], "outside": list(call.outside)}
        for name, call in of.calls.items()
    }
    return {
        "level": 0.9,
        "iteration_seconds": [of.iteration_low, of.iteration_high],
        "calls": calls,
        "bytes": {name: list(band) for role in of.memory.values() for name, band in role.bands.items()},
    }


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value
