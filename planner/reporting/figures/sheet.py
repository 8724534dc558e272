"""A figure of strips, one above the other, along the same axis of seconds.

All places are counted in inches from the sheet's edges, so that what is measured before it is drawn (whether
a label fits, how many rows a legend takes) is what is drawn, on every machine.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from planner.domain.text import write_bytes
from planner.errors import SpecError
from planner.reporting.figures.palette import FAINT, INK, RULE

WIDTH = 9.0
LEFT = 1.62
RIGHT = 1.2
DRAWN = WIDTH - LEFT - RIGHT
"""Inches along which the seconds run."""
_TITLE_INCHES, _NOTE_INCHES = 0.3, 0.2
_BOTTOM = 0.5

TITLE, TEXT, SMALL = 11.0, 8.0, 7.0
"""Points."""
POINT = 1 / 72
"""Inches."""
_LEGEND_ROW = 0.19
_LABEL = 0.22
"""Inches that a strip's label takes."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "hybridmap",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}
"""Without a date, so that the same figure has the same bytes."""

Key = tuple[Artist | tuple[Artist, ...], str]
"""An entry of a legend: what it looks like and what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One plot along the seconds."""

    inches: float
    """Of its height."""
    draw: Callable[[Axes], None]
    heading: str = ""
    """Above the first strip of a panel, in bold."""
    keys: tuple[Key, ...] = ()
    """The panel's legend, under the heading."""
    label: str = ""
    """What this strip shows, just above it."""

    @property
    def above(self) -> float:
        """Inches over it for what is written there."""
        heading = 0.32 + _LEGEND_ROW * len(key_rows(self.keys)) if self.heading else 0.0
        return heading + (_LABEL if self.label else 0.09)


def write_sheet(strips: Sequence[Strip], path: Path, *, title: str, note: str, end_s: float) -> None:
    """Draw the strips from 0 to the end and write them; the name's ending says the format: png, svg or pdf.

    Parameters
    ----------
    note
        Under the title: the figures that matter.

    Raises
    ------
    SpecError
        The ending says another format, or nothing can be written there.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in _METADATA:
        raise SpecError(f"{path}: end the name in {', '.join(f'.{known}' for known in _METADATA)}")
    with rc_context(STYLE):
        write_bytes(path, picture_bytes(sheet(strips, title, note, end_s), kind))


def picture_bytes(figure: Figure, kind: str) -> bytes:
    """The file of a figure; the same for the same figure.

    Parameters
    ----------
    kind
        svg, pdf or png.
    """
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": STYLE["svg.hashsalt"]}):
        figure.savefig(picture, dpi=130, format=kind, metadata=_METADATA[kind])
    return picture.getvalue()


def sheet(strips: Sequence[Strip], title: str, note: str, end_s: float) -> Figure:
    head = _TITLE_INCHES + (_NOTE_INCHES if note else 0.0)
    height = head + sum(strip.above + strip.inches for strip in strips) + _BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    figure.text(0.15 / WIDTH, 1 - 0.17 / height, title, va="top", fontsize=TITLE, fontweight="bold")
    figure.text(0.15 / WIDTH, 1 - 0.40 / height, note, va="top", fontsize=TEXT)
    top = height - head
    for index, strip in enumerate(strips):
        top -= strip.above
        axes = figure.add_axes(
            (LEFT / WIDTH, (top - strip.inches) / height, DRAWN / WIDTH, strip.inches / height)
        )
        _along_seconds(axes, end_s, is_last=index == len(strips) - 1)
        strip.draw(axes)
        _head(axes, strip)
        top -= strip.inches
    return figure


def _along_seconds(axes: Axes, end_s: float, *, is_last: bool) -> None:
    axes.set_xlim(0, end_s or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.grid(axis="x", color=RULE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_visible(is_last)
    axes.tick_params(axis="x", labelbottom=is_last, length=3 if is_last else 0)
    if is_last:
        axes.set_xlabel("seconds", fontsize=TEXT)


def _head(axes: Axes, strip: Strip) -> None:
    over = 5 * POINT
    if strip.label:
        write_beside(axes, strip.label, x=0, over=over, fontsize=TEXT)
        over = _LABEL + 3 * POINT
    if not strip.heading:
        return
    rows = key_rows(strip.keys)
    for row in reversed(rows):
        _write_keys(axes, row, strip.inches, over)
        over += _LEGEND_ROW
    write_beside(axes, strip.heading, x=0, over=over + 3 * POINT, fontsize=TEXT + 1, fontweight="bold")


def write_beside(axes: Axes, text: str, *, x: float, over: float, **style: Any) -> None:
    """Write above a strip, so many inches right of its left edge and over its top."""
    axes.annotate(
        text,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(x / POINT, over / POINT),
        textcoords="offset points",
        va="baseline",
        annotation_clip=False,
        **style,
    )


def _write_keys(axes: Axes, keys: Sequence[Key], inches: float, over: float) -> None:
    legend = Legend(
        axes,
        [key for key, _ in keys],
        [word for _, word in keys],
        loc="lower left",
        bbox_to_anchor=(0, 1 + (over - 4 * POINT) / inches),
        ncols=len(keys),
        fontsize=TEXT,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0,
        borderpad=0,
        handlelength=_HANDLE,
        handletextpad=_HANDLE_PAD,
        columnspacing=_COLUMN_PAD,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )
    axes.add_artist(legend)


_HANDLE, _HANDLE_PAD, _COLUMN_PAD = 1.6, 0.5, 1.3
"""Of legends, in units of the font's size."""


def key_rows(keys: Sequence[Key]) -> list[list[Key]]:
    """A legend's entries in as many rows as they need."""
    rows: list[list[Key]] = []
    room = 0.0
    for key in keys:
        needed = (_HANDLE + _HANDLE_PAD + _COLUMN_PAD) * TEXT * POINT + text_inches(key[1], TEXT)
        if needed > room:
            rows.append([])
            room = DRAWN + RIGHT
        rows[-1].append(key)
        room -= needed
    return rows


@lru_cache(maxsize=4096)
def text_inches(text: str, points: float) -> float:
    """The width of a line of text."""
    font = FontProperties(family="DejaVu Sans", size=points)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) * POINT


def fitted(text: str, points: float, inches: float) -> str:
    """A text, or as much of its beginning as there is room for."""
    if text_inches(text, points) <= inches:
        return text
    cut = len(text)
    while cut > 1 and text_inches(f"{text[:cut]}…", points) > inches:
        cut -= 1
    return f"{text[:cut]}…"


def packed(words: Sequence[str], points: float, inches: float) -> list[str]:
    """Words in lines of at most a width, set apart by commas.

    >>> packed(["busy 76 %", "inputs 14 %", "tail 4 %"], 7, 1.1)
    ['busy 76 %', 'inputs 14 %, tail 4 %']
    """
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines else word
        if lines and text_inches(longer, points) <= inches:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def spread(places: Sequence[float], *, apart: float, low: float, high: float) -> list[float]:
    """Places in rising order, moved until they are so far apart, between two ends where there is room.

    >>> spread([1.0, 1.1, 5.0], apart=1.0, low=0.0, high=10.0)
    [1.0, 2.0, 5.0]
    >>> spread([9.5, 9.8], apart=1.0, low=0.0, high=10.0)
    [9.0, 10.0]
    """
    up = list(_pushed(places, apart, low))
    down = list(_pushed([-place for place in reversed(up)], apart, -high))
    return [-place for place in reversed(down)]


def _pushed(places: Sequence[float], apart: float, low: float) -> Iterator[float]:
    reached = low
    for place in places:
        reached = max(place, reached)
        yield reached
        reached += apart
