"""``hybridmap simulate``: the predicted timeline of a plan, or of a scenario's best plan."""

import argparse
from pathlib import Path
from typing import Any

import planner
from hybridmap import inputs, screen
from hybridmap.answers import error_band
from hybridmap.demands import add_demands, add_search
from planner.domain.text import dump_json, refuse_unwritable, write_text
from planner.errors import SpecError
from planner.reporting.tables import timeline_table
from planner.reporting.trace import chrome_trace


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("simulate")
    parser.add_argument("scenario", type=Path, metavar="SCENARIO|PLAN")
    inputs.add_settings(parser)
    add_demands(parser)
    add_search(parser)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a Chrome trace (JSON)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (PNG, SVG or PDF)")
    screen.add_json(parser)
    parser.set_defaults(command=simulate)


def simulate(options: argparse.Namespace) -> None:
    """Simulate, show, and write."""
    if options.iterations < 1:
        raise SpecError(f"command line: --iterations must be at least 1, not {options.iterations}")
    if options.plot and options.plot.suffix not in (".png", ".svg", ".pdf"):
        raise SpecError(f"command line: --plot {options.plot}: end the name in .png, .svg or .pdf")
    for path in filter(None, (options.trace, options.plot)):
        refuse_unwritable(path)
    plan = _plan_of(options)
    timeline = planner.simulate(plan, iterations=options.iterations)
    screen.show(options, timeline_table(timeline, plan))
    screen.answer(options, _answer(plan, timeline.model_dump(mode="json")["spans"]))
    if options.trace:
        write_text(options.trace, dump_json(chrome_trace([timeline])))
    if options.plot:
        from planner.reporting.figures import write_timeline_figure

        write_timeline_figure([timeline], options.plot, title=plan.scenario.name)


def _plan_of(options: argparse.Namespace) -> planner.Plan:
    if not inputs.is_plan(options.scenario):
        return inputs.best_plan(options, inputs.scenario_of(options)).plan
    inputs.refuse_settings(options)
    return inputs.read_sound_plan(options.scenario)


def _answer(plan: planner.Plan, spans: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "iteration_seconds": plan.prediction.iteration_seconds,
        "error_band": error_band(plan),
        "tokens_per_second": plan.prediction.tokens_per_second,
        "calls": spans,
        "memory": plan.model_dump(mode="json")["prediction"]["memory"],
    }
