"""``hybridmap compare``: a plan's prediction against the measured timeline of a run."""

import argparse
from pathlib import Path
from typing import Any

import planner
from hybridmap import screen
from planner.domain.reading import read_timeline
from planner.reporting.tables import comparison_table


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("compare")
    parser.add_argument("plan", type=Path, metavar="PLAN")
    parser.add_argument("run", type=Path, metavar="RUN_DIR")
    screen.add_json(parser)
    parser.set_defaults(command=compare)


def compare(options: argparse.Namespace) -> None:
    """Show predicted against measured seconds by call."""
    plan = planner.read_plan(options.plan)
    found = planner.compare(plan, read_timeline(options.run / "timeline.json"))
    screen.show(options, comparison_table(found.predicted, found.measured))
    screen.answer(options, {"predicted": found.predicted, "measured": found.measured})
