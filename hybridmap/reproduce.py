"""``hybridmap reproduce paper``: HybridFlow's evaluation, ours beside it."""

import argparse
from dataclasses import asdict
from typing import Any

from hybridmap import screen
from planner.reporting.tables import name_table
from planner.studies.paper.tables import Table, evaluation


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("reproduce")
    parser.add_argument("what", choices=("paper",))
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print tables as docs/paper.md keeps them")
    screen.add_json(form)
    parser.set_defaults(command=reproduce)


def reproduce(options: argparse.Namespace) -> None:
    """Plan the paper's scenarios and show what holds."""
    with screen.errors_console().status("planning the paper's scenarios, some minutes ..."):
        found = evaluation()
    if options.markdown:
        print("\n\n".join(map(_markdown, found.tables)))
    else:
        screen.show(options, *(name_table(table.title, table.columns, table.rows) for table in found.tables))
    value = {"tables": [asdict(table) for table in found.tables], "held": found.held}
    screen.answer(options, value | {"facts": [asdict(fact) for fact in found.facts]})


def _markdown(table: Table) -> str:
    rows = (table.columns, ("---",) * len(table.columns), *table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
