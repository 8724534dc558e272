"""A simulation on a terminal: calls, generations, what devices waited for, and the whole job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from planner.domain.generated import GenerationReport
from planner.domain.plan import Plan
from planner.domain.simulated import Idle, JobReport, Simulation
from planner.reporting.tables import blank_table, timeline_table
from planner.reporting.words import format_share
from planner.units import HOUR_S, format_seconds

_PILING = 0.9
"""Of the tokens that responses have on average, a share that chance alone hardly stays below."""
_SHOWN = 20
"""Generations that a terminal gets."""


def simulation_report(simulation: Simulation, plan: Plan) -> RenderableType:
    """Everything that a simulation says: its last iteration, generations, idle devices, the job."""
    return Group(*_tables(simulation, plan))


def _tables(simulation: Simulation, plan: Plan) -> Iterator[Table]:
    last = max(simulation.timeline.iterations, default=0)
    calls = timeline_table(simulation.timeline.of_iteration(last), plan)
    calls.caption = period_words(simulation)
    if _piles_up(simulation, plan):
        calls.caption += (
            "; long responses still pile up (rollouts.carry): more --iterations show the steady state"
        )
    yield calls
    if simulation.generation:
        yield generation_table(simulation.generation)
    if simulation.idle:
        yield idle_table(simulation.idle)
    if simulation.job is not None:
        yield job_table(simulation.job)


def _piles_up(simulation: Simulation, plan: Plan) -> bool:
    """Whether partial rollouts put long responses off faster than they finish them."""
    last = [report for report in simulation.generation if report.iteration == simulation.iterations - 1]
    tokens = sum(report.response_tokens for report in last)
    asked = sum(report.responses for report in last) * plan.scenario.workload.response_tokens.mean
    return plan.scenario.rollouts.carry > 0 and tokens < _PILING * asked


def period_words(simulation: Simulation) -> str:
    """Simulated against planned seconds, the throughput and its price."""
    planned, price = simulation.predicted_seconds, simulation.dollars_per_million_tokens
    change = f" ({format_share(simulation.iteration_seconds / planned - 1)})" if planned else ""
    dollars = f", {price:,.4g} $ per million tokens" if price is not None else ""
    count = f"{simulation.iterations:,} iteration{'s' if simulation.iterations > 1 else ''}"
    return (
        f"{count} simulated; in the steady state {format_seconds(simulation.iteration_seconds)} each, "
        f"planned {format_seconds(planned)}{change}; "
        f"{simulation.tokens_per_second:,.0f} tokens/s{dollars}"
    )


def generation_table(reports: Sequence[GenerationReport]) -> Table:
    """How each generation went, call by call; columns that would hold zeros only are left out."""
    calls = dict.fromkeys(report.call for report in reports)
    shows = {
        "call": len(calls) > 1,
        "preempted": any(report.preemptions for report in reports),
        "carried": any(report.carried for report in reports),
    }
    tail = f"{', '.join(reports[0].tail)} % done after"
    columns = ("iteration", "call", "tokens/s", "at most", tail, "longest", "waves", "preempted", "carried")
    shown = [column for column in columns if shows.get(column, True)]
    title = f"Generation: {', '.join(calls)}"
    table = blank_table(title, *shown, whole=("iteration", "call", "tokens/s", "at most"))
    for report in reports[-_SHOWN:]:
        cells = dict(zip(columns, _generation_cells(report), strict=True))
        table.add_row(*(cells[column] for column in shown))
    table.caption = _generation_caption(reports[0])
    if len(reports) > _SHOWN:
        table.caption = f"the last {_SHOWN} of {len(reports):,}; --json has all; {table.caption}"
    return table


def _generation_cells(report: GenerationReport) -> Iterator[str]:
    peak = max((moment.tokens_per_second for moment in report.curve), default=None)
    yield str(report.iteration)
    yield report.call
    yield f"{report.response_tokens / report.seconds:,.0f}" if report.seconds else "-"
    yield f"{peak:,.0f}" if peak is not None else "-"
    yield _joined(tuple(report.tail.values()))
    yield f"{report.longest_tokens:,}"
    yield f"{report.waves:,}"
    yield f"{report.preemptions:,}"
    yield f"{report.carried:,}"


def _joined(seconds: Sequence[float]) -> str:
    """Several times, their unit once where it is the same."""
    words = [format_seconds(each).split() for each in seconds]
    units = {unit for _, unit in words}
    if len(units) == 1:
        return f"{', '.join(number for number, _ in words)} {units.pop()}"
    return ", ".join(" ".join(each) for each in words)


def _generation_caption(report: GenerationReport) -> str:
    places = f"{report.replicas} replicas of {report.max_sequences:,} sequences"
    return (
        f"{report.responses:,} responses on {places}; tokens/s: of responses; longest: tokens of a response"
    )


def idle_table(pools: Sequence[Idle]) -> Table:
    """Device-seconds of each pool by what they went into, with their shares."""
    causes = tuple(dict.fromkeys(cause for pool in pools for cause, spent in pool.idle.items() if spent > 0))
    table = blank_table(
        "Device-seconds of an iteration in the steady state",
        "pool",
        "devices",
        "busy",
        *causes,
        whole=("pool", "devices"),
    )
    for pool in pools:
        _add_idle_row(table, pool, causes, end_section=pool is pools[-1])
    if len(pools) > 1:
        _add_idle_row(table, _together(pools), causes)
    if causes:
        table.caption = "; ".join(f"{cause}: {_CAUSES[cause]}" for cause in causes if cause in _CAUSES)
    return table


_CAUSES = {
    "inputs": "of another pool's call",
    "weights": "of an update",
    "service": "that answers from elsewhere",
    "link": "that data or weights cross",
    "tail": "replicas that are done",
    "tools": "replicas that wait for answers",
    "end": "nothing left to do",
    "unused": "in no pool",
}
"""What idle devices wait for, in words."""


def _add_idle_row(table: Table, pool: Idle, causes: Sequence[str], *, end_section: bool = False) -> None:
    spent = (pool.busy, *(pool.idle.get(cause, 0.0) for cause in causes))
    table.add_row(
        pool.pool,
        f"{pool.devices:,}",
        *(_share_words(seconds, pool.device_seconds) for seconds in spent),
        end_section=end_section,
    )


def _share_words(seconds: float, total: float) -> str:
    return f"{seconds:,.0f} ({100 * seconds / total:.1f} %)" if seconds > 0 and total else ""


def _together(pools: Sequence[Idle]) -> Idle:
    causes = dict.fromkeys(cause for pool in pools for cause in pool.idle)
    return Idle(
        pool="all",
        devices=sum(pool.devices for pool in pools),
        device_seconds=sum(pool.device_seconds for pool in pools),
        busy=sum(pool.busy for pool in pools),
        idle={cause: sum(pool.idle.get(cause, 0.0) for pool in pools) for cause in causes},
    )


def job_table(job: JobReport) -> Table:
    """What a whole job takes."""
    table = blank_table("The whole job", "measure", "value")
    for measure, value in _job_rows(job):
        table.add_row(measure, value)
    return table


def attempts_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Clusters that were tried for a job: devices, what it takes on them, and whether it is done in time."""
    priced = any(row["dollars"] is not None for row in rows)
    columns = ("devices", "hours", "device-hours", *(["dollars"] if priced else []), "in time")
    table = blank_table("Clusters for the job", *columns, whole=columns)
    for row in rows:
        figures = [row["hours"], row["device_hours"], *([row["dollars"]] if priced else [])]
        table.add_row(
            f"{row['devices']:,}",
            *(f"{figure:,.2f}" if figure is not None else "-" for figure in figures),
            _in_time(row),
        )
    return table


def _in_time(row: Mapping[str, Any]) -> str:
    if not row["fits"]:
        return "does not fit"
    return "yes" if row["done"] else "no" if row["hours"] is not None else "never ends"


def _job_rows(job: JobReport) -> Iterator[tuple[str, str]]:
    yield "iterations", f"{job.iterations:,} of {format_seconds(job.iteration_seconds)} on average"
    yield "time", _hours(job.seconds)
    yield "device-hours", f"{job.device_hours:,.1f}"
    if job.dollars is not None:
        yield "price", f"{job.dollars:,.2f} $"
    yield "tokens", f"{job.tokens:,.0f}"
    yield "goodput", f"{100 * job.goodput:.1f} % of the time is training"
    for part, seconds in job.parts.items():
        share = f" ({100 * seconds / job.seconds:.1f} %)" if job.seconds else ""
        yield part, f"{_hours(seconds)}{share}"
    yield "failures expected", f"{job.failures:,.2f}"
    if job.checkpoint_every is not None:
        yield "checkpoint every", _iterations(job.checkpoint_every)
    if job.best_checkpoint_every is not None:
        yield "least is lost with one every", _iterations(job.best_checkpoint_every)
    first, last = job.stretches[:1], job.stretches[1:][-1:]
    for stretch in (*first, *last):
        length = f"responses of {stretch.response_tokens:,.0f} tokens on average"
        yield f"iteration {stretch.iteration:,}", f"{format_seconds(stretch.seconds)}, {length}"


def _hours(seconds: float) -> str:
    """Hours, or what is much less than one in seconds."""
    return f"{seconds / HOUR_S:,.2f} h" if seconds >= 0.1 * HOUR_S else format_seconds(seconds)


def _iterations(count: int) -> str:
    return f"{count:,} iteration{'s' if count > 1 else ''}"
