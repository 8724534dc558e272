"""Tables for a terminal."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.domain.plan import Plan
from planner.domain.profile import Profile
from planner.domain.timeline import Timeline
from planner.reporting.words import iteration_words
from planner.units import format_bytes, format_bytes_per_s, format_flops_per_s, format_seconds

_WHOLE = (
    *("pool", "devices", "role", "layout", "phase", "bytes", "call", "seconds", "share", "90 % band"),
    *("model", "device", "engine", "algorithm", "scenario", "source", "measure"),
)
"""Columns of keys and short figures."""


def device_report(profile: Profile) -> RenderableType:
    """What was measured on the machine at hand."""
    device = profile.device
    head = Text(
        f"measured {device.name} x {profile.processes}: "
        f"{', '.join(f'{format_flops_per_s(rate)} {kind}' for kind, rate in device.peak.items())}, "
        f"memory {format_bytes_per_s(device.memory_bandwidth)}, {format_bytes(device.usable_memory)} each, "
        f"link {format_bytes_per_s(device.link.bandwidth)} after {format_seconds(device.link.latency)}"
    )
    table = blank_table(
        "Measured calls", "role", "call", "layout", "micro-batch", "samples", "seconds", "of it reshard"
    )
    for call in profile.calls:
        strategy, generates = call.strategy, call.kind == "generate"
        table.add_row(
            call.role,
            call.method,
            f"{strategy.layout} gen {strategy.generate}" if generates else str(strategy.layout),
            "" if generates else str(strategy.micro_batch),
            str(call.samples),
            format_seconds(call.seconds),
            format_seconds(call.reshard_seconds) if call.reshard_seconds else "",
        )
    return Group(head, table)


def timeline_table(timeline: Timeline, plan: Plan) -> Table:
    """The spans of a timeline in order."""
    table = blank_table(
        f"{plan.scenario.name}, {timeline.origin}", "iteration", "call", "pool", "start", "end", "seconds"
    )
    for span in timeline.spans:
        table.add_row(
            str(span.iteration),
            span.call,
            span.pool,
            format_seconds(span.start_s),
            format_seconds(span.end_s),
            format_seconds(span.seconds),
        )
    table.caption = iteration_words(plan)
    return table


def comparison_table(predicted: Mapping[str, float], measured: Mapping[str, float]) -> Table:
    """Predicted against measured seconds by call; ``total`` is the iteration."""
    table = blank_table("Predicted against measured, per iteration", "call", "predicted", "measured", "error")
    for call, seconds in measured.items():
        expected = predicted.get(call)
        known = expected is not None
        table.add_row(
            call,
            format_seconds(expected) if expected is not None else "-",
            format_seconds(seconds),
            f"{100 * (expected / seconds - 1):+.0f} %" if known and expected and seconds else "-",
            end_section=call == list(measured)[-2] if len(measured) > 1 else False,
        )
    return table


def blank_table(title: str, *columns: str, whole: Sequence[str] = _WHOLE) -> Table:
    """A table without rows, of which nothing is cut: what has no room goes on in the next line.

    Parameters
    ----------
    whole
        Columns whose words stay in one line while there is any room.
    """
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    return table


def sample_table(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> Table:
    """Responses to the same prompts before and after training; each a prompt and its response."""
    table = blank_table("Responses", "prompt", "before", "after")
    for (prompt, first), (_, last) in zip(before, after, strict=True):
        table.add_row(prompt, first, last, end_section=True)
    return table


def name_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain texts."""
    table = blank_table(title, *columns)
    for row in rows:
        table.add_row(*row)
    return table
