"""``hybridmap reproduce paper``: published facts of HybridFlow's evaluation, ours beside them."""

import argparse
from dataclasses import asdict
from typing import Any

from hybridmap import screen
from planner.reporting.tables import name_table
from planner.studies.paper import Fact, facts


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("reproduce", help="hold the planner against the paper's evaluation")
    parser.add_argument("what", choices=("paper",))
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/paper.md keeps it")
    screen.add_json(parser)
    parser.set_defaults(command=reproduce)


def reproduce(options: argparse.Namespace) -> None:
    """Plan the paper's scenarios and show what holds."""
    with screen.errors_console().status("planning the paper's scenarios ..."):
        found = list(facts())
    rows = [(fact.source, fact.published, fact.ours, "yes" if fact.holds else "no") for fact in found]
    if options.markdown:
        print(_markdown(rows))
    else:
        screen.show(options, name_table("HybridFlow", ("fact", "published", "ours", "holds"), rows))
    screen.answer(options, {"facts": [asdict(fact) for fact in found], "held": _held(found)})


def _held(found: list[Fact]) -> int:
    return sum(fact.holds for fact in found)


def _markdown(rows: list[tuple[str, str, str, str]]) -> str:
    head = ["| fact | published | ours | holds |", "|---|---|---|---|"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])
