"""The picture of a sweep: one figure over one key, a line for each combination of the others."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes as Plot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from planner.domain.sweep import Row, figure, format_setting
from planner.reporting.figures.palette import BLUE, FAINT, GREEN, ORANGE, PURPLE, RED, SKY, YELLOW
from planner.reporting.figures.sheet import picture_bytes
from planner.reporting.sweeps.axes import Axes, Values, axes_of, scale_of, series, short_names

_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, FAINT)
_STYLES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_IDEAL: Mapping[str, Any] = {"color": "#9c9c9c", "linestyle": (0, (3, 3)), "linewidth": 1.0, "zorder": 1}
_WORDS = {
    "iteration_seconds": "seconds per iteration",
    "stage_cost_seconds": "stage cost, seconds",
    "tokens_per_second": "tokens per second",
    "dollars_per_million_tokens": "dollars per million tokens",
    "cluster_devices": "devices of the cluster",
    "devices": "devices taken",
    "scaling_efficiency": "strong scaling efficiency",
}
_FORMATS = ("png", "svg")
_MOST_TICKS = 12


def sweep_pictures(
    rows: Sequence[Row], values: Values, *, y: str, x: str | None = None, title: str
) -> dict[str, bytes]:
    """The picture in each format, ``png`` and ``svg``: the same bytes for the same rows.

    Where devices grow along x, a dashed line shows what as many more devices would bring at best.

    Parameters
    ----------
    values
        Of each key that has more than one.

    Raises
    ------
    ValueError
        Says why nothing can be drawn.
    """
    axes = axes_of(values, x=x)
    if not series(rows, axes, y):
        raise ValueError(f"no row has {_words(y)}")
    drawn = _drawn(rows, values, axes, y, title)
    with rc_context({"svg.fonttype": "none"}):
        return {ending: picture_bytes(drawn, ending) for ending in _FORMATS}


def _drawn(rows: Sequence[Row], values: Values, axes: Axes, y: str, title: str) -> Figure:
    panels = list(values[axes.panel]) if axes.panel else [None]
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    drawn = Figure(figsize=(3.2 + 4.3 * columns, 1.2 + 3.6 * lines), layout="constrained")
    FigureCanvasAgg(drawn)
    grid = drawn.subplots(lines, columns, squeeze=False, sharey=True)
    for plot, panel in zip(grid.flat, panels, strict=False):
        own = [row for row in rows if axes.panel is None or row.settings[axes.panel] == panel]
        _draw(plot, own, values, axes, y)
        if axes.panel:
            plot.set_title(f"{_names(values)[axes.panel]} {format_setting(panel)}", loc="left", fontsize=10)
    for plot in grid.flat[len(panels) :]:
        plot.set_visible(False)
    for plot in grid[:, 1:].flat:
        plot.set_ylabel("")
    drawn.suptitle(title, x=0.01, ha="left", fontsize=12)
    handles = _legend(rows, values, axes, y)
    if handles:
        drawn.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return drawn


def _draw(plot: Plot, rows: Sequence[Row], values: Values, axes: Axes, y: str) -> None:
    scale = scale_of(values[axes.x])
    place = dict(zip(map(format_setting, values[axes.x]), scale.places, strict=True))
    has_ideal = False
    for own in series(rows, axes, y).values():
        own = sorted(own, key=lambda row: place[format_setting(row.settings[axes.x])])
        across = [place[format_setting(row.settings[axes.x])] for row in own]
        up = [float(figure(row, y) or 0.0) for row in own]
        look = _look(own[0], values, axes)
        plot.plot(across, up, marker="o", markersize=3.5, linewidth=1.6, zorder=2, **look)
        if ideal := _ideal(own, y):
            plot.plot(across, ideal, **_IDEAL)
            has_ideal = True
    _label(plot, values, axes, y, has_ideal=has_ideal)


def _label(plot: Plot, values: Values, axes: Axes, y: str, *, has_ideal: bool) -> None:
    """Words and scales; on two logarithmic ones the ideal is a straight line."""
    scale = scale_of(values[axes.x])
    name = _names(values)[axes.x]
    plot.set_xlabel(f"{name} ({scale.unit})" if scale.unit else name)
    plot.set_ylabel(_words(y))
    if scale.is_logarithmic:
        plot.set_xscale("log", base=2)
        plot.xaxis.set_minor_locator(NullLocator())
    if not scale.is_numeric or scale.is_logarithmic or len(scale.places) <= 8:
        texts = [f"{each:g}" for each in scale.places]
        texts = texts if scale.is_numeric else list(map(format_setting, values[axes.x]))
        every = math.ceil(len(texts) / _MOST_TICKS)
        plot.set_xticks(scale.places[::every], labels=texts[::every])
    if scale.is_logarithmic and has_ideal:
        plot.set_yscale("log")
        plot.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        plot.yaxis.set_minor_locator(NullLocator())
    else:
        plot.set_ylim(bottom=0)
    plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    plot.grid(axis="y", color="#e5e5e5", linewidth=0.8, zorder=0)
    plot.spines[["top", "right"]].set_visible(False)


def _ideal(rows: Sequence[Row], y: str) -> list[float]:
    """What as many times the devices as the first row's would bring: throughput grows, seconds fall.

    Nothing where devices do not change along the rows, or where another figure is shown.
    """
    counts = [row.figures.cluster_devices for row in rows if row.figures]
    if len(set(counts)) < 2 or not (y == "tokens_per_second" or y.endswith("_seconds")):
        return []
    first = float(figure(rows[0], y) or 0.0)
    power = 1 if y == "tokens_per_second" else -1
    return [float(first * (count / counts[0]) ** power) for count in counts]


def _look(row: Row, values: Values, axes: Axes) -> dict[str, Any]:
    colour = (
        _colours(len(values[axes.colour]))[_place(row, values, axes.colour)] if axes.colour else _COLOURS[0]
    )
    style = _STYLES[_place(row, values, axes.style)] if axes.style else _STYLES[0]
    return {"color": colour, "linestyle": style}


def _place(row: Row, values: Values, key: str) -> int:
    return list(map(format_setting, values[key])).index(format_setting(row.settings[key]))


def _colours(count: int) -> Sequence[Any]:
    """Colours of their own for a few, a scale of colours for more."""
    if count <= len(_COLOURS):
        return _COLOURS
    return [colormaps["viridis"](0.95 * at / (count - 1)) for at in range(count)]


def _legend(rows: Sequence[Row], values: Values, axes: Axes, y: str) -> list[Line2D]:
    """What colours and styles mean, and the dashed line."""
    names, handles = _names(values), list[Line2D]()
    if axes.colour:
        shown = values[axes.colour]
        for value, colour in zip(shown, _colours(len(shown)), strict=False):
            words = f"{names[axes.colour]} {format_setting(value)}"
            handles.append(Line2D([], [], color=colour, linewidth=1.6, label=words))
    if axes.style:
        for value, style in zip(values[axes.style], _STYLES, strict=False):
            words = f"{names[axes.style]} {format_setting(value)}"
            handles.append(Line2D([], [], color="#4d4d4d", linestyle=style, linewidth=1.6, label=words))
    if any(_ideal(own, y) for own in series(rows, axes, y).values()):
        handles.append(Line2D([], [], **{**_IDEAL, "label": "ideal: as the devices"}))
    return handles


def _names(values: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return short_names(list(values))


def _words(y: str) -> str:
    return _WORDS.get(y, y.replace("_", " "))
