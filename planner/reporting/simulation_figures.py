"""Pictures of a simulation: pools, memory and generations in the same seconds, in one file or in several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from planner.domain.generated import GenerationReport
from planner.domain.plan import Plan
from planner.domain.simulated import Simulation
from planner.errors import SpecError
from planner.reporting.figures.gantt import timeline_strip
from planner.reporting.figures.generation import comparison_strips, generation_strips
from planner.reporting.figures.memory import memory_strips
from planner.reporting.figures.sheet import Strip, write_sheet
from planner.units import format_seconds

Panel = Literal["timeline", "memory", "generation"]
PANELS: tuple[Panel, ...] = ("timeline", "memory", "generation")


def write_simulation_figure(
    simulation: Simulation, plan: Plan, path: Path, *, which: Sequence[Panel] = PANELS
) -> None:
    """Draw the pools and their calls, the memory of their devices, and the generations, in the same seconds.

    The name's ending says the format: png, svg or pdf.
    """
    timeline, end_s = simulation.timeline, simulation.timeline.end_s
    strips: list[Strip] = []
    for panel in which:
        if panel == "timeline":
            heading = f"Pools and their calls{_busy_words(simulation)}"
            strips.append(
                timeline_strip(timeline, end_s=end_s, plan=plan, idle=simulation.idle, heading=heading)
            )
        elif panel == "memory":
            strips += memory_strips(timeline, plan, simulation.generation, end_s=end_s)
        else:
            strips += generation_strips(timeline, simulation.generation, end_s=end_s)
    if not which:
        raise SpecError(f"{plan.scenario.name}: name panels to draw: {', '.join(PANELS)}")
    if not strips:
        raise SpecError(f"{plan.scenario.name}: nothing generates, so there is no course of it to draw")
    write_sheet(strips, path, title=plan.scenario.name, note=_note(simulation, plan), end_s=end_s)


def write_generation_figure(reports: Sequence[GenerationReport], path: Path, *, title: str) -> None:
    """Draw generations of several iterations or calls upon each other, each from its own start.

    The name's ending says the format: png, svg or pdf.
    """
    strips = comparison_strips(reports)
    if not strips:
        raise SpecError(f"{title}: nothing generates, so there is no course of it to draw")
    end_s = max(report.seconds for report in reports)
    write_sheet(strips, path, title=title, note="", end_s=end_s)


def _busy_words(simulation: Simulation) -> str:
    """The share of all device-seconds, where those were counted."""
    total = sum(pool.device_seconds for pool in simulation.idle)
    if not total:
        return ""
    busy = sum(pool.busy for pool in simulation.idle)
    return f": in the steady state devices are busy {100 * busy / total:.0f} % of the time"


def _note(simulation: Simulation, plan: Plan) -> str:
    price = simulation.dollars_per_million_tokens
    return ", ".join(
        [
            f"{format_seconds(simulation.iteration_seconds)} per iteration "
            f"(planned {format_seconds(simulation.predicted_seconds)})",
            f"{simulation.tokens_per_second:,.0f} tokens/s",
            f"{plan.used_devices} devices"
            + (f" and {plan.idle_devices} unused" if plan.idle_devices else ""),
            *([f"{price:,.3g} $ per million tokens"] if price is not None else []),
        ]
    )
