"""``hybridmap sweep``: a what-if table over a grid of settings, of best plans or of one that is given."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import planner
from hybridmap import grids, inputs, screen
from hybridmap.demands import add_demands, add_solver, worker_count
from hybridmap.grids import Grid, Task
from hybridmap.journal import NAME, digest_of, journal, program
from hybridmap.progress import row_progress
from hybridmap.refusals import tell
from planner.domain.choice import read_choice, read_choice_keys
from planner.domain.mistakes import closest
from planner.domain.sweep import NUMBERS
from planner.domain.text import dump_json, load_json, write_bytes, write_text
from planner.errors import InfeasibleError, SpecError
from planner.reporting.sweeps.tables import csv_text, sweep_table
from planner.studies.sweep.scaling import scaled, scaling_key

_PICTURES = ("sweep.png", "sweep.svg")
_FILES = ("sweep.csv", "sweep.json", *_PICTURES, NAME)


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("sweep")
    parser.add_argument(
        *("scenario",),
        nargs="?",
        type=Path,
        metavar="SCENARIO|PLAN",
        help="a scenario is planned anew at each point, a plan is kept and costed again",
    )
    inputs.add_descriptions(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        dest="settings",
        help="a key and its values, as workload.prompts=256,512,1024; all combinations of all keys are swept",
    )
    inputs.add_folder(parser, f"write {', '.join(_FILES)} there; go on where one stopped")
    parser.add_argument("--fresh", action="store_true", help="drop the rows that are in DIR already")
    parser.add_argument(
        *("--workers",),
        type=worker_count,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes; rows are the same whatever their number",
    )
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="play each plan's iterations event by event: adds tails, idle devices and whole jobs",
    )
    parser.add_argument("--x", metavar="KEY", help="key along the picture's x axis")
    parser.add_argument(
        "--y",
        metavar="FIGURE",
        default="tokens_per_second",
        help=f"figure that is drawn: {', '.join(NUMBERS)}",
    )
    add_demands(parser)
    add_solver(parser.add_argument_group("how to search"))
    screen.add_json(parser)
    parser.set_defaults(command=sweep)


def sweep(options: argparse.Namespace) -> None:
    """Check all points, compute those that are missing, show and write the rows."""
    task = _task(options)
    _refuse_names(options, task.grid)
    if options.out:
        inputs.refuse_places(options, *(options.out / name for name in _FILES))
    with row_progress("checking", total=len(task.grid)) as advance:
        grids.check(task.grid, advance)
    rows = _scaled(_rows(options, task), task.grid)
    answer = _answer(task, rows)
    if options.out:
        _write(options, task.grid, rows, answer)
    screen.show(options, sweep_table(rows, keys=list(task.grid.varied), title=_title(answer)))
    screen.answer(options, answer)


def _task(options: argparse.Namespace) -> Task:
    """What the command line asks for at which points."""
    axes = grids.parse_axes(options.settings)
    if options.scenario is not None and inputs.is_plan(options.scenario):
        inputs.refuse_demands(options)
        _tell_of_measurements(options.scenario)
        grid = Grid(keys=read_choice_keys(options.scenario), axes=axes, is_kept=True)
        return _task_of(options, grid, read_choice(options.scenario))
    before, after = inputs.demands_around(options, [axis.key for axis in axes])
    grid = Grid(
        keys=inputs.written_keys(options),
        axes=axes,
        before=tuple(before),
        after=tuple(after),
        placement=options.placement,
    )
    return _task_of(options, grid, None)


def _task_of(options: argparse.Namespace, grid: Grid, given: planner.Choice | None) -> Task:
    return Task(grid=grid, given=given, solver=options.solver, seed=options.seed, simulates=options.simulate)


def _tell_of_measurements(path: Path) -> None:
    """Say it where a plan's own seconds were measured, and its rows' will not be."""
    value = load_json(path) if path.suffix == ".json" else {}
    try:
        origins = {call.origin for call in planner.Plan.model_validate(value).prediction.calls.values()}
    except ValueError:
        return
    if origins - {"modelled"}:
        tell(f"{path}: was made from measurements; rows are costed without them, by what devices' files say")


def _refuse_names(options: argparse.Namespace, grid: Grid) -> None:
    """Refuse what cannot be drawn by its name alone."""
    if options.y not in NUMBERS:
        known = ", ".join(NUMBERS)
        hint = closest(options.y, NUMBERS)
        raise SpecError(f"command line: --y: {options.y!r} is no figure{hint} (there are {known})")
    if options.x is not None and options.x not in grid.varied:
        known = ", ".join(grid.varied) or "none"
        hint = closest(options.x, grid.varied)
        raise SpecError(
            f"command line: --x: {options.x!r} is no key with several values{hint} (keys: {known})"
        )


def _rows(options: argparse.Namespace, task: Task) -> list[planner.Row]:
    """All rows in the order of the grid: those that are kept already, and the others."""
    if not options.out:
        return _computed(options, task, {}, lambda row: None)
    with journal(options.out, _subject(task), is_fresh=options.fresh) as kept:
        try:
            return _computed(options, task, kept.rows, kept.append)
        except KeyboardInterrupt:
            tell(f"{options.out}: {kept.count()} of {len(task.grid)} rows are kept; the same command goes on")
            raise


def _computed(
    options: argparse.Namespace,
    task: Task,
    known: Mapping[int, planner.Row],
    keep: Callable[[planner.Row], None],
) -> list[planner.Row]:
    from hybridmap.workers import finished_rows  # and with it the solvers

    total = len(task.grid)
    rows = {number: row for number, row in known.items() if number < total}
    missing = [number for number in range(total) if number not in rows]
    with row_progress("sweeping", total=total, done=len(rows)) as advance:
        for row in finished_rows(task, missing, workers=options.workers):
            keep(row)
            rows[row.point] = row
            advance(1)
    return [rows[number] for number in range(total)]


def _scaled(rows: Sequence[planner.Row], grid: Grid) -> list[planner.Row]:
    points = [(row.settings, _devices(row, grid)) for row in rows]
    return list(scaled(rows, scaling_key(points)))


def _devices(row: planner.Row, grid: Grid) -> int | None:
    """Of the row's cluster; none where its settings contradict each other."""
    if row.figures:
        return row.figures.cluster_devices
    try:
        return grid.scenario(row.point).cluster.devices
    except (InfeasibleError, SpecError):
        return None


def _subject(task: Task) -> dict[str, Any]:
    """What rows depend on, each part as short as tells it from others."""
    grid = task.grid
    worlds = []
    for number in grid.star:
        try:
            worlds.append(grid.scenario(number).model_dump(mode="json"))
        except (InfeasibleError, SpecError) as error:
            worlds.append(str(error))
    return {
        "program": program(),
        "scenario": digest_of([grid.keys.value, grid.before, grid.after, grid.placement]),
        "plan": digest_of(task.given.model_dump(mode="json")) if task.given else "",
        "solver or seed": [task.solver, task.seed],
        "--simulate": task.simulates,
        "values of --set": digest_of([(axis.key, axis.values) for axis in grid.axes]),
        "models, devices or engines": digest_of(worlds),
    }


def _answer(task: Task, rows: Sequence[planner.Row]) -> dict[str, Any]:
    """The JSON object of ``sweep --json``, and of ``sweep.json``."""
    return {
        "plan": "given" if task.given else "best",
        "scenario": task.grid.keys.value.get("name"),
        "axes": {axis.key: list(axis.values) for axis in task.grid.axes},
        "points": len(rows),
        "statuses": dict(sorted(Counter(row.status for row in rows).items())),
        "rows": [row.model_dump(mode="json") for row in rows],
    }


def _write(options: argparse.Namespace, grid: Grid, rows: Sequence[planner.Row], answer: Any) -> None:
    """The table as CSV and JSON, and its picture where it can be drawn."""
    write_text(options.out / "sweep.csv", csv_text(rows))
    write_text(options.out / "sweep.json", dump_json(answer))
    from planner.reporting.figures.sweeps import sweep_pictures

    try:
        pictures = sweep_pictures(rows, grid.varied, y=options.y, x=options.x, title=_title(answer))
    except ValueError as reason:
        tell(f"no picture is drawn: {reason}")
        for name in _PICTURES:
            (options.out / name).unlink(missing_ok=True)
        return
    for ending, content in pictures.items():
        write_bytes(options.out / f"sweep.{ending}", content)


def _title(answer: Mapping[str, Any]) -> str:
    kept = "one plan kept" if answer["plan"] == "given" else "best plans"
    return f"{answer['scenario']}: {kept}, {answer['points']:,} points"
