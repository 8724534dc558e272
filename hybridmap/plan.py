"""``hybridmap plan``: the best placement and strategies of a scenario, with a proof; or a plan's score."""

import argparse
from typing import Any

import planner
from hybridmap import inputs, scoring, screen
from hybridmap.answers import plan_answer
from hybridmap.demands import add_demands, add_search
from planner.reporting.plans import plan_report


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("plan")
    inputs.add_scenario(parser)
    add_demands(parser)
    add_search(parser)
    scoring.add_score(parser)
    inputs.add_out(parser, "write the plan to this file (JSON)", name="PLAN")
    screen.add_json(parser)
    parser.set_defaults(command=plan)


def plan(options: argparse.Namespace) -> None:
    """Plan, show, and write."""
    inputs.refuse_out(options)
    if scoring.is_asked(options):
        scoring.score(options)
        return
    scenario = inputs.scenario_of(options)
    with screen.errors_console().status(f"planning {scenario.cluster.devices} devices ..."):
        result = inputs.best_plan(options, scenario)
    screen.show(options, plan_report(result.plan, solve_seconds=result.solve_seconds))
    if options.out:
        planner.write_plan(result.plan, options.out)
    screen.answer(options, plan_answer(result.plan, solve_seconds=result.solve_seconds))
