"""``hybridmap new``: a commented scenario to start from."""

import argparse
from pathlib import Path
from typing import Any

from hybridmap.output import write
from planner.domain.catalog import SHIPPED
from planner.domain.text import read_text, write_text
from planner.errors import SpecError


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("new")
    parser.add_argument("out", nargs="?", type=Path, metavar="FILE", help="standard output by default")
    parser.set_defaults(command=new)


def new(options: argparse.Namespace) -> None:
    """Print or write the template."""
    template = read_text(SHIPPED / "scenarios" / "template.yaml")
    if options.out is None:
        write(template)
        return
    if options.out.exists():
        raise SpecError(f"{options.out}: exists already; choose another name")
    write_text(options.out, template)
