"""``hybridmap run``: measure, plan, simulate, train, and hold the prediction against what happened."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import planner
from hybridmap import inputs, screen
from hybridmap.demands import add_demands, add_search
from hybridmap.profile import measure
from hybridmap.progress import RunProgress
from planner.domain.profile import Profile
from planner.domain.reading import read_profile
from planner.domain.text import dump_json, refuse_unwritable, write_text
from planner.domain.timeline import Timeline
from planner.errors import SpecError
from planner.reporting.plans import plan_report
from planner.reporting.tables import (
    comparison_table,
    device_report,
    sample_table,
    timeline_table,
)
from planner.reporting.trace import chrome_trace
from planner.studies.comparison import WARM_UP_ITERATIONS

_RUNS = Path("runs")
"""Where run directories are made that nobody names."""


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("run")
    parser.add_argument("scenario", type=Path, metavar="SCENARIO|PLAN")
    inputs.add_settings(parser)
    add_demands(parser)
    add_search(parser)
    parser.add_argument("--iterations", type=int, metavar="N", help="instead of the scenario's")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run directory; runs/NAME-N by default")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    parser.add_argument("--address", metavar="RAY", help="use this Ray cluster instead of starting one")
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="measurements to plan with, not made anew"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what the plan would start, and stop")
    screen.add_json(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Go from a scenario or a plan to a run directory."""
    _check(options)
    runtime = inputs.runtime_rooms()
    with runtime.KeptProcesses() as kept:
        plan, profile = _plan_of(options, runtime, kept)
        if options.dry_run:
            report = runtime.dry_run(plan, address=options.address)
            screen.show(options, str(report))
            screen.answer(options, report.as_dict())
            return
        predicted = planner.timeline(plan)
        screen.show(options, timeline_table(predicted, plan))
        folder = options.out or _free_folder(plan.scenario.name)
        with RunProgress(options, plan) as progress:
            result = runtime.run(
                plan,
                out=folder,
                iterations=options.iterations,
                address=options.address,
                resume=options.resume,
                kept=kept,
                profile=profile,
                progress=progress.show,
            )
    _write_pictures(folder, plan, predicted, result.timeline)
    found = planner.compare(plan, result.timeline)
    screen.show(options, sample_table(result.samples_before, result.samples_after))
    screen.show(options, comparison_table(found.predicted, found.measured))
    screen.show(options, f"run directory: {folder}")
    answer = {"out": str(folder), "predicted": found.predicted, "measured": found.measured}
    screen.answer(options, answer | {"metrics": result.metrics})


def _check(options: argparse.Namespace) -> None:
    if options.iterations is not None and options.iterations < 1:
        raise SpecError(f"command line: --iterations must be at least 1, not {options.iterations}")
    if options.resume and options.out is None:
        raise SpecError("command line: --resume needs --out, the run directory to go on in")
    if options.out and options.out.exists() and not options.out.is_dir():
        raise SpecError(f"{options.out}: is a file; --out names a folder")
    refuse_unwritable((options.out or _RUNS) / "plan.json")
    if options.out and not options.resume and options.out.exists() and any(options.out.iterdir()):
        raise SpecError(f"{options.out}: is not empty; choose another folder, or --resume to go on in it")


def _plan_of(options: argparse.Namespace, runtime: Any, kept: Any) -> tuple[planner.Plan, Profile | None]:
    """The plan to run, and the measurements it was made with if it is made now."""
    if inputs.is_plan(options.scenario):
        inputs.refuse_settings(options)
        plan = inputs.read_sound_plan(options.scenario)
        runtime.check_inputs(plan.scenario)
        return _shown(options, plan), None
    scenario = inputs.runnable_scenario(options)
    runtime.check_inputs(scenario)
    if options.resume:
        return _shown(options, _earlier_plan(options, scenario)), None
    if options.dry_run and not options.profile:
        result = inputs.best_plan(options, scenario)
        return _shown(options, result.plan, result.solve_seconds), None
    profile = read_profile(options.profile) if options.profile else measure(options, scenario, kept)
    screen.show(options, device_report(profile))
    result = inputs.best_plan(options, scenario, [profile])
    return _shown(options, result.plan, result.solve_seconds), profile


def _shown(
    options: argparse.Namespace, plan: planner.Plan, solve_seconds: float | None = None
) -> planner.Plan:
    screen.show(options, plan_report(plan, solve_seconds=solve_seconds))
    return plan


def _earlier_plan(options: argparse.Namespace, scenario: planner.Scenario) -> planner.Plan:
    """The plan that the run directory was begun with."""
    plan = planner.read_plan(options.out / "plan.json")
    for field in ("name", "algorithm", "models", "precision", "workload", "staleness", "rollouts", "run"):
        begun, now = getattr(plan.scenario, field), getattr(scenario, field)
        if not (now.resumes(begun) if field == "run" and now and begun else begun == now):
            raise SpecError(
                f"{options.scenario}: {field}: not what {options.out} was begun with; "
                "resume with the same scenario, or start a new run directory"
            )
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update={"run": scenario.run})})


def _free_folder(name: str) -> Path:
    number = 1
    while (folder := _RUNS / f"{name}-{number}").exists():
        number += 1
    return folder


def _write_pictures(folder: Path, plan: planner.Plan, predicted: Timeline, measured: Timeline) -> None:
    from planner.reporting.figures import write_timeline_figure

    typical = measured.of_iteration(typical_iteration(measured))
    write_text(folder / "trace.json", dump_json(chrome_trace([predicted, measured])))
    write_timeline_figure([predicted, typical], folder / "timeline.png", title=plan.scenario.name, plan=plan)


def typical_iteration(timeline: Timeline) -> int:
    """The iteration of median length, the warm-up left out."""
    iterations: Sequence[int] = timeline.iterations[WARM_UP_ITERATIONS:] or timeline.iterations
    return sorted(iterations, key=timeline.iteration_seconds)[len(iterations) // 2]
