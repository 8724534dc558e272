"""The figures of a paper's evaluation as pictures: bars by devices, in one panel for each model size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from planner.domain.text import write_bytes
from planner.reporting.figures.palette import BLUE, FAINT, GREEN, ORANGE, PURPLE, tinted
from planner.reporting.figures.sheet import picture_bytes

_LIGHT = 0.55
_COLOURS = (
    *(BLUE, ORANGE, tinted(ORANGE, _LIGHT), GREEN, tinted(GREEN, _LIGHT)),
    *(PURPLE, tinted(PURPLE, _LIGHT), FAINT),
)
_WIDTH = 0.84
"""Of the bars of one tick together; ticks are 1 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One group of bars at each tick."""

    title: str
    ticks: tuple[str, ...]
    series: Mapping[str, tuple[float | None, ...]]
    """One height for each tick; none where there is nothing to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Panels side by side."""

    name: str
    """Of its files."""
    title: str
    panels: tuple[Panel, ...]
    across: str
    """What the ticks are."""
    up: str
    """What the heights are."""
    is_logarithmic: bool = False
    is_stacked: bool = False
    """Whether the bars of a tick stand on each other."""


def write_picture(picture: Picture, folder: Path) -> list[Path]:
    """Draw it as PNG and as SVG."""
    figure = _drawn(picture)
    paths = [folder / f"{picture.name}.{ending}" for ending in ("png", "svg")]
    for path in paths:
        write_bytes(path, picture_bytes(figure, path.suffix.removeprefix(".")))
    return paths


def _drawn(picture: Picture) -> Figure:
    figure = Figure(figsize=(max(6.0, 4.2 * len(picture.panels)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, len(picture.panels), squeeze=False)[0]
    names = list(dict.fromkeys(name for panel in picture.panels for name in panel.series))
    for axes, panel in zip(grid, picture.panels, strict=True):
        (_stack if picture.is_stacked else _group)(axes, panel, names)
        axes.set_title(panel.title, loc="left", fontsize=10)
        axes.set_xticks(range(len(panel.ticks)), labels=list(panel.ticks))
        axes.set_xlabel(picture.across)
        axes.set_yscale("log" if picture.is_logarithmic else "linear")
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel(picture.up)
    figure.suptitle(picture.title, x=0.01, ha="left", fontsize=12)
    handles, labels = _legend(grid)
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
    return figure


def _group(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
    """Bars side by side."""
    width = _WIDTH / len(names)
    for index, name in enumerate(names):
        heights = panel.series.get(name, ())
        known = [(tick, height) for tick, height in enumerate(heights) if height is not None]
        places = [tick + (index - (len(names) - 1) / 2) * width for tick, _ in known]
        axes.bar(places, [height for _, height in known], width, label=name, color=_colour(index))


def _stack(axes: Axes, panel: Panel, names: Sequence[str]) -> None:
    """Bars on each other."""
    below = [0.0] * len(panel.ticks)
    for index, name in enumerate(names):
        heights = [height or 0.0 for height in panel.series.get(name, (None,) * len(below))]
        axes.bar(range(len(heights)), heights, _WIDTH, bottom=below, label=name, color=_colour(index))
        below = [one + other for one, other in zip(below, heights, strict=True)]


def _legend(grid: Sequence[Axes]) -> tuple[list[Artist], list[str]]:
    """Every name once."""
    found: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]
