"""``hybridmap diff``: what differs between two plans."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import planner
from hybridmap import screen
from planner.reporting.explanations import difference_report


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("diff")
    parser.add_argument("plans", nargs=2, type=Path, metavar="PLAN")
    screen.add_json(parser)
    parser.set_defaults(command=diff)


def diff(options: argparse.Namespace) -> None:
    """Show the differences, whatever they are."""
    one, other = map(planner.read_plan, options.plans)
    found = planner.differences(one, other)
    sections = asdict(found)
    screen.show(options, difference_report(sections))
    screen.answer(options, {"same": found.is_empty, **sections})
