"""Pictures of timelines."""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from planner.domain.text import write_bytes
from planner.domain.timeline import Span, Timeline

_COLOURS = {
    "reshard": "#b07aa1",
    "generate": "#4e79a7",
    "infer": "#59a14f",
    "train": "#f28e2b",
    "numeric": "#9c9c9c",
    "send": "#e15759",
    "receive": "#ff9da7",
}


def write_timeline_figure(timelines: Sequence[Timeline], path: Path, *, title: str) -> None:
    """Draw one iteration of each timeline, one above the other on the same axis of seconds.

    The name's ending says the format: png, svg or pdf.
    """
    rows = sum(len(timeline.pools) for timeline in timelines)
    figure = Figure(figsize=(11, 1.4 + 0.9 * rows + 0.5 * len(timelines)), layout="constrained")
    FigureCanvasAgg(figure)
    heights = [max(1, len(timeline.pools)) for timeline in timelines]
    grid = figure.subplots(len(timelines), 1, sharex=True, squeeze=False, height_ratios=heights)
    for axes, timeline in zip(grid[:, 0], timelines, strict=True):
        _draw(axes, timeline)
    grid[-1, 0].set_xlabel("seconds")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    kinds = dict.fromkeys(span.kind for timeline in timelines for span in timeline.spans)
    patches = [Patch(color=_COLOURS[kind], label=kind) for kind in _COLOURS if kind in kinds]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=130, format=path.suffix.removeprefix("."))
    write_bytes(path, picture.getvalue())


def _draw(axes: Axes, timeline: Timeline) -> None:
    pools = timeline.pools
    for span in timeline.spans:
        row = pools.index(span.pool)
        colour = _COLOURS[span.kind]
        edge = "white" if span.seconds > 0.01 * timeline.end_s else colour
        axes.barh(row, span.seconds, left=span.start_s, height=0.7, color=colour, edgecolor=edge)
        _label(axes, span, row, total=timeline.end_s)
    axes.set_yticks(range(len(pools)), labels=list(pools))
    axes.set_ylim(len(pools) - 0.4, -0.6)
    axes.set_title(f"{timeline.origin}: {timeline.end_s:.3g} s", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _label(axes: Axes, span: Span, row: int, *, total: float) -> None:
    share = span.seconds / total if total else 0.0
    text = span.call.replace(".", "\n", 1).replace("generate/", "")
    if share > 0.055:
        middle = (span.start_s + span.end_s) / 2
        axes.text(middle, row, text, ha="center", va="center", fontsize=8, color="white", clip_on=True)
