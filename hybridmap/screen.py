"""Where words go: answers to standard output, everything else to standard error."""

import argparse
import json
import os
from typing import Any

from rich.console import Console, RenderableType

from hybridmap.output import answering, write

_PIPED_WIDTH = 120
"""Of what is not shown on a terminal, unless COLUMNS says otherwise."""
_LEAST_WIDTH = 80
"""Keys would be cut in narrower tables; a narrower terminal breaks their lines itself."""


def errors_console(*, quiet: bool = False) -> Console:
    """The console for messages and progress, or one that says nothing."""
    return Console(stderr=True, quiet=quiet)


def show(options: argparse.Namespace, *what: RenderableType) -> None:
    """Print tables: to standard output, or to standard error when that is kept for ``--json``."""
    console = Console(stderr=bool(getattr(options, "json", False)))
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdecimal():
        console.width = _PIPED_WIDTH
    console.width = max(_LEAST_WIDTH, console.width)
    with answering():
        console.print(*what)


def answer(options: argparse.Namespace, value: dict[str, Any]) -> None:
    """Print the one JSON object of ``--json``."""
    if options.json:
        write(json.dumps(value, sort_keys=True, allow_nan=False) + "\n")


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add the ``--json`` option."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, and nothing else, to stdout"
    )
