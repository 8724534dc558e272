"""``hybridmap reproduce paper``: HybridFlow's evaluation, ours beside it."""

import argparse
import csv
import io
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hybridmap import inputs, screen
from hybridmap.output import write
from hybridmap.progress import step_progress
from planner.domain.text import dump_json, refuse_unwritable, write_text
from planner.reporting.tables import name_table
from planner.studies.paper.tables import STEPS, Evaluation, Table, evaluation

MOST_WORKERS = 2
"""Processes that compare systems while this one does the rest, which takes longer than a third of them would
save."""


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("reproduce")
    parser.add_argument("what", choices=("paper",))
    inputs.add_folder(
        parser, "write facts and tables (CSV, JSON, Markdown) and pictures of the figures (PNG, SVG) there"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print tables as docs/paper.md keeps them")
    screen.add_json(form)
    parser.set_defaults(command=reproduce)


def reproduce(options: argparse.Namespace) -> None:
    """Plan the paper's scenarios and show what holds."""
    if options.out is not None:
        refuse_unwritable(options.out / "paper.json")
    workers = min(MOST_WORKERS, len(os.sched_getaffinity(0)) - 1)
    with step_progress("the paper's evaluation", total=STEPS) as watch:
        found = evaluation(watch, workers=workers)
    if options.out is not None:
        write_evaluation(found, options.out)
    if options.markdown:
        write("\n\n".join(map(_markdown, found.tables)) + "\n")
    else:
        screen.show(options, *(name_table(table.title, table.columns, table.rows) for table in found.tables))
    screen.answer(options, _value(found))


def write_evaluation(found: Evaluation, folder: Path) -> None:
    """Every table as CSV, all of them as JSON and Markdown, and the figures."""
    from planner.reporting.figures.bars import write_picture
    from planner.studies.paper.pictures import pictures

    for table in found.tables:
        write_text(folder / f"{_slug(table.title)}.csv", _csv(table))
    write_text(folder / "paper.json", dump_json(_value(found)))
    drawn = list(pictures(found.measures))
    for picture in drawn:
        write_picture(picture, folder)
    images = [f"![{picture.title}]({picture.name}.png)" for picture in drawn]
    tables = [f"## {table.title}\n\n{_markdown(table)}" for table in found.tables]
    head = f"# HybridFlow's evaluation, ours beside it\n\n{found.held} of {len(found.facts)} facts hold."
    write_text(folder / "paper.md", "\n\n".join((head, *tables, *images)) + "\n")


def _value(found: Evaluation) -> dict[str, Any]:
    return {
        "tables": [asdict(table) for table in found.tables],
        "held": found.held,
        "facts": [asdict(fact) for fact in found.facts],
    }


def _csv(table: Table) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows((table.columns, *table.rows))
    return text.getvalue()


def _slug(title: str) -> str:
    """A file's name.

    >>> _slug("figure 12: tokens per second")
    'figure-12-tokens-per-second'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _markdown(table: Table) -> str:
    rows = (table.columns, ("---",) * len(table.columns), *table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
