"""Where words go: answers to standard output, everything else to standard error."""

import argparse
import json
import sys
from typing import Any

from rich.console import Console, RenderableType

_PIPED_WIDTH = 130


def errors_console() -> Console:
    """The console for messages and progress."""
    return Console(stderr=True)


def show(options: argparse.Namespace, *what: RenderableType) -> None:
    """Print tables: to standard output, or to standard error when that is kept for ``--json``."""
    console = Console(stderr=bool(getattr(options, "json", False)))
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(*what)


def answer(options: argparse.Namespace, value: dict[str, Any]) -> None:
    """Print the one JSON object of ``--json``."""
    if options.json:
        sys.stdout.write(json.dumps(value, sort_keys=True, allow_nan=False) + "\n")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the ``--json`` option."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, and nothing else, to stdout"
    )
