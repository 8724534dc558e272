"""Pictures; the only files that draw."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from planner.domain.plan import Plan
from planner.domain.timeline import Timeline
from planner.reporting.figures.gantt import timeline_strip
from planner.reporting.figures.sheet import write_sheet
from planner.units import format_seconds


def write_timeline_figure(
    timelines: Sequence[Timeline], path: Path, *, title: str, plan: Plan | None = None
) -> None:
    """Draw timelines one above the other on the same axis of seconds.

    The name's ending says the format: png, svg or pdf.

    Parameters
    ----------
    plan
        Whose pools have devices to be named.
    """
    end_s = max((timeline.end_s for timeline in timelines), default=0.0)
    strips = [
        timeline_strip(
            timeline,
            end_s=end_s,
            plan=plan,
            heading=f"{timeline.origin}: {format_seconds(timeline.end_s)}",
        )
        for timeline in timelines
    ]
    keys = tuple({word: key for strip in strips for key, word in strip.keys}.items())
    strips = [
        replace(strip, keys=() if index else tuple((key, word) for word, key in keys))
        for index, strip in enumerate(strips)
    ]
    write_sheet(strips, path, title=title, note="", end_s=end_s)
