"""``hybridmap profile``: measure this machine's devices and a scenario's calls."""

import argparse
from pathlib import Path
from typing import Any

import planner
from hybridmap import inputs, screen
from planner.domain.profile import Profile
from planner.domain.text import dump_json, write_text
from planner.reporting.tables import device_report


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("profile")
    parser.add_argument("scenario", type=Path, metavar="SCENARIO")
    inputs.add_settings(parser)
    inputs.add_out(parser, "write the measurements (JSON)")
    parser.add_argument("--address", metavar="RAY", help="use this Ray cluster instead of starting one")
    screen.add_json(parser)
    parser.set_defaults(command=profile)


def profile(options: argparse.Namespace) -> None:
    """Measure, show, and write."""
    inputs.refuse_out(options)
    measured = measure(options, inputs.runnable_scenario(options))
    screen.show(options, device_report(measured))
    screen.answer(options, measured.model_dump(mode="json"))
    if options.out:
        write_text(options.out, dump_json(measured.model_dump(mode="json")))


def measure(options: argparse.Namespace, scenario: planner.Scenario, kept: Any = None) -> Profile:
    """Start the run's processes and measure; then stop them, or leave them with those that are kept."""
    runtime = inputs.runtime_rooms()
    with screen.errors_console().status("measuring this machine ...") as status:
        return runtime.profile(scenario, address=options.address, kept=kept, progress=status.update)
