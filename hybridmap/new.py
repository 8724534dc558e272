"""``hybridmap new``: a commented scenario to start from."""

import argparse
import sys
from pathlib import Path
from typing import Any

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
        sys.stdout.write(template)
        return
    if options.out.exists():
        raise SpecError(f"{options.out}: exists already; choose another name")
    write_text(options.out, template)
