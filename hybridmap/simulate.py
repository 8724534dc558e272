"""``hybridmap simulate``: a plan, or a scenario's best plan, as its iterations and its job would come."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import planner
from hybridmap import inputs, screen
from hybridmap.answers import simulation_answer
from hybridmap.demands import add_demands, add_search, duration, search_settings
from planner.domain.text import dump_json, write_text
from planner.errors import InfeasibleError, SpecError
from planner.reporting.simulations import attempts_table, simulation_report
from planner.reporting.trace import chrome_trace
from planner.studies import deadline
from planner.studies.deadline import Attempt
from planner.units import HOUR_S

_PICTURES = (".png", ".svg", ".pdf")
_MOST_ITERATIONS = 10_000
"""Every one of them is played."""


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("simulate")
    parser.add_argument("scenario", type=Path, metavar="SCENARIO|PLAN")
    inputs.add_settings(parser)
    add_demands(parser)
    add_search(parser)
    parser.add_argument(
        "--iterations",
        type=int,
        metavar="N",
        help="how many are shown; by default one, or a few where calls of several overlap",
    )
    parser.add_argument(
        "--done-within",
        type=duration,
        metavar="TIME",
        help="as '3 d': the fewest nodes that finish the scenario's job by then",
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a Chrome trace (JSON)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (PNG, SVG or PDF)")
    screen.add_json(parser)
    parser.set_defaults(command=simulate)


def simulate(options: argparse.Namespace) -> None:
    """Simulate, show, and write."""
    if options.iterations is not None and not 1 <= options.iterations <= _MOST_ITERATIONS:
        raise SpecError(
            f"command line: --iterations must be at least 1 and at most {_MOST_ITERATIONS:,}, "
            f"not {options.iterations}; job.iterations says how long a whole job is"
        )
    if options.plot and options.plot.suffix not in _PICTURES:
        raise SpecError(f"command line: --plot {options.plot}: end the name in .png, .svg or .pdf")
    inputs.refuse_places(options, *filter(None, (options.trace, options.plot)))
    if options.trace and options.plot and options.trace.resolve() == options.plot.resolve():
        raise SpecError(f"command line: --trace and --plot both name {options.plot}; give two names")
    attempts = _attempts(options) if options.done_within is not None else []
    plan = _fewest(attempts) if attempts else _plan_of(options)
    simulation = planner.simulate(plan, iterations=options.iterations)
    tables = [attempts_table([_row(attempt) for attempt in attempts])] if attempts else []
    screen.show(options, *tables, simulation_report(simulation, plan))
    answer = simulation_answer(plan, simulation)
    if attempts:
        answer["attempts"] = [_row(attempt) for attempt in attempts]
    _write(options, simulation, plan)
    screen.answer(options, answer)


def _write(options: argparse.Namespace, simulation: planner.Simulation, plan: planner.Plan) -> None:
    """The trace and the picture that are asked for."""
    if options.trace:
        trace = chrome_trace([simulation.timeline], plan=plan, generation=simulation.generation)
        write_text(options.trace, dump_json(trace))
    if options.plot:
        from planner.reporting.simulation_figures import write_simulation_figure

        write_simulation_figure(simulation, plan, options.plot)


def _plan_of(options: argparse.Namespace) -> planner.Plan:
    if not inputs.is_plan(options.scenario):
        return inputs.best_plan(options, inputs.scenario_of(options)).plan
    inputs.refuse_settings(options)
    return inputs.read_sound_plan(options.scenario)


def _attempts(options: argparse.Namespace) -> list[Attempt]:
    """Clusters of the scenario's devices, until the fewest nodes are known that are done in time."""
    within_s: float = options.done_within
    if inputs.is_plan(options.scenario):
        raise SpecError(
            f"{options.scenario}: --done-within asks for other clusters; name a scenario, not a plan"
        )
    scenario = inputs.scenario_of(options)
    found: list[Attempt] = []
    with screen.errors_console().status("planning ...") as status:
        for attempt in deadline.attempts(scenario, within_s, settings=search_settings(options)):
            found.append(attempt)
            status.update(f"planning ... {attempt.devices:,} devices: {_hours(attempt)}")
    return found


def _fewest(found: Sequence[Attempt]) -> planner.Plan:
    """The plan on the fewest nodes that is done in time.

    Raises
    ------
    InfeasibleError
        None is.
    """
    done = min((attempt for attempt in found if attempt.done), key=lambda each: each.devices, default=None)
    if done is not None and done.plan is not None:
        return done.plan
    best = min(found, key=lambda each: each.seconds)
    none = f"no cluster of up to {max(each.devices for each in found):,} devices finishes the job in time"
    if best.job is None:
        raise InfeasibleError(f"{none}, or at all", fix=f"on {found[-1].devices:,}: {found[-1].reason}")
    raise InfeasibleError(
        f"{none}: the fastest tried takes {_hours(best)} on {best.devices:,}",
        fix="allow more time, shorter responses or more staleness; more devices hardly shorten it",
    )


def _hours(attempt: Attempt) -> str:
    if attempt.job:
        return f"{attempt.seconds / HOUR_S:.3g} h"
    return "never ends" if attempt.plan else "does not fit"


def _row(attempt: Attempt) -> dict[str, Any]:
    job = attempt.job
    return {
        "devices": attempt.devices,
        "hours": job.seconds / HOUR_S if job else None,
        "device_hours": job.device_hours if job else None,
        "dollars": job.dollars if job else None,
        "fits": attempt.plan is not None,
        "done": attempt.done,
        "reason": attempt.reason or None,
    }
