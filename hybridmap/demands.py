"""Options that say what to ask for, which override keys of the scenario, and how to search."""

from __future__ import annotations

import argparse
import math
from typing import Any, get_args

import planner
from hybridmap.settings import Setting
from planner.domain.plan import Solver
from planner.domain.scenario import FixedPlacement, Objective, TimeModel
from planner.errors import SpecError
from planner.units import parse_seconds

_OBJECTIVES = (*get_args(Objective), "tokens")
_GREATEST_SEED = 2**31 - 1
"""The greatest that CP-SAT takes."""
_MOST_WORKERS = 1024
_PLACEMENTS = get_args(FixedPlacement)


def add_demands(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand for keys of a scenario."""
    group = parser.add_argument_group("what to ask for", "each overrides the scenario's key of that name")
    group.add_argument("--minimise", choices=_OBJECTIVES, metavar="WHAT", help=", ".join(_OBJECTIVES))
    group.add_argument(
        "--within", type=duration, metavar="TIME", help="longest permitted iteration, as 300 or '5 min'"
    )
    group.add_argument(
        "--time-model",
        choices=get_args(TimeModel),
        help="what an iteration's seconds are: the steady-state period, or the paper's sum over stages",
    )
    group.add_argument(
        "--staleness", type=_natural, metavar="K", help="iterations that generation may run ahead"
    )
    group.add_argument(
        "--runnable", action="store_true", help="only plans that this package's runtime can run"
    )
    group.add_argument(
        "--placement",
        choices=_PLACEMENTS,
        help="all roles in one pool; each alone; actor and reference in one half, the others in the other",
    )


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the options of the search itself."""
    group = parser.add_argument_group("how to search")
    add_solver(group)
    group.add_argument("--time-limit", type=_positive, metavar="SECONDS", help="stop early, with a bound")
    group.add_argument("--workers", type=worker_count, default=1, metavar="N", help="threads of the solver")
    group.add_argument(
        "--runners-up", type=_natural, default=3, metavar="N", help="best plans of so many other placements"
    )


def add_solver(group: argparse._ActionsContainer) -> None:
    """Add what a plan may depend on: the solver and its seed."""
    group.add_argument("--solver", choices=get_args(Solver), default="cpsat")
    group.add_argument("--seed", type=_seed, default=0, metavar="N")


def demanded_settings(options: argparse.Namespace) -> list[Setting]:
    """The keys of a scenario that these options change."""
    given = vars(options)
    within, minimise = given.get("within"), given.get("minimise")
    wanted: dict[str, Any] = {
        "minimise": "tokens_per_second" if minimise == "tokens" else minimise,
        "within": None if within is None else f"{within!r} s",
        "time_model": given.get("time_model"),
        "staleness": given.get("staleness"),
        "capabilities": "runtime" if given.get("runnable") else None,
    }
    return [
        Setting(key, value, f"--{key.replace('_', '-')}")
        for key, value in wanted.items()
        if value is not None
    ]


def search_settings(options: argparse.Namespace) -> planner.SearchSettings:
    """How the command line wants the search done."""
    return planner.SearchSettings(
        solver=options.solver,
        time_limit_s=options.time_limit,
        seed=options.seed,
        workers=options.workers,
        runners_up=options.runners_up,
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def duration(text: str) -> float:
    """Seconds of a text such as ``300``, ``5 min`` or ``3 d``, above 0."""
    try:
        found = float(text) if text.replace(".", "", 1).isdecimal() else parse_seconds(text)
    except SpecError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0, such as 300 (seconds) or '5 min'")
    return found


def _natural(text: str) -> int:
    return _whole(text, least=0)


def _seed(text: str) -> int:
    return _whole(text, least=0, most=_GREATEST_SEED)


def worker_count(text: str) -> int:
    """How many threads or processes a text asks for."""
    return _whole(text, least=1, most=_MOST_WORKERS)


def _whole(text: str, *, least: int, most: int = 10**9) -> int:
    if not text.isdecimal() or not least <= float(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
    return int(text)
