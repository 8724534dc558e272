"""Generations over time: tokens per second, running sequences, cache, and when the responses were done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from planner.domain.generated import GenerationReport, Moment
from planner.domain.timeline import Timeline
from planner.reporting.figures.palette import BLUE, INK, tinted
from planner.reporting.figures.sheet import DRAWN, POINT, SMALL, Key, Strip, text_inches
from planner.reporting.occupancy import placed
from planner.units import format_seconds

_INCHES = 0.68
_MARK = SMALL - 1
"""Points of the labels of the tail."""
_TINT = 0.5
"""White in the colours of every second iteration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    """Something that the moments of a generation say."""

    of: Callable[[Moment], float]
    label: str
    limit: float | None = None
    """The end of its axis."""


def generation_strips(
    timeline: Timeline, reports: Sequence[GenerationReport], *, end_s: float
) -> list[Strip]:
    """Each generation where its span is in the timeline."""
    found = [(report, span.start_s) for report, span in placed(timeline, reports) if report.curve]
    if not found:
        return []
    quantities = _quantities([report for report, _ in found])
    return [
        Strip(
            inches=_INCHES,
            draw=_drawing(quantity, found, end_s, has_tail=index == 1),
            heading="" if index else _heading([report for report, _ in found]),
            keys=() if index else _area_keys([report for report, _ in found]),
            label=quantity.label,
        )
        for index, quantity in enumerate(quantities)
    ]


def _heading(reports: Sequence[GenerationReport]) -> str:
    """The figures of all generations together."""
    rate = sum(report.response_tokens for report in reports) / sum(report.seconds for report in reports)
    preempted = sum(report.preemptions for report in reports)
    return (
        f"Generation: {rate:,.0f} response tokens/s on average, "
        f"longest response {max(report.longest_tokens for report in reports):,} tokens"
        + (f", {preempted:,} preemptions" if preempted else "")
    )


def _quantities(reports: Sequence[GenerationReport]) -> list[_Quantity]:
    places = dict.fromkeys(f"{report.replicas} × {report.max_sequences:,}" for report in reports)
    return [
        _Quantity(of=lambda moment: moment.tokens_per_second, label="response tokens per second"),
        _Quantity(
            of=lambda moment: moment.running,
            label=f"running sequences, of {' or '.join(places)} places (replicas × sequences)",
        ),
        _Quantity(
            of=lambda moment: 100 * moment.cache_share, label="KV cache held, % of its tokens", limit=100.0
        ),
    ]


def _drawing(
    quantity: _Quantity,
    found: Sequence[tuple[GenerationReport, float]],
    end_s: float,
    *,
    has_tail: bool,
) -> Callable[[Axes], None]:
    top = quantity.limit or max(quantity.of(moment) for report, _ in found for moment in report.curve)

    def draw(axes: Axes) -> None:
        _upwards(axes, top * (1.35 if has_tail else 1.1))
        for report, start_s in found:
            colour = tinted(BLUE, _TINT) if report.iteration % 2 else BLUE
            times, values = _steps(report, quantity, start_s)
            axes.fill_between(times, 0, values, step="post", color=colour, linewidth=0, zorder=2)
        if has_tail:
            _mark_tail(axes, found, top, end_s)

    return draw


def _upwards(axes: Axes, top: float) -> None:
    axes.set_ylim(0, top or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def _steps(report: GenerationReport, quantity: _Quantity, start_s: float) -> tuple[list[float], list[float]]:
    times = [start_s + moment.start_s for moment in report.curve]
    values = [quantity.of(moment) for moment in report.curve]
    return [*times, start_s + report.curve[-1].end_s], [*values, values[-1]]


def _mark_tail(axes: Axes, found: Sequence[tuple[GenerationReport, float]], top: float, end_s: float) -> None:
    for report, start_s in found:
        for seconds in report.tail.values():
            axes.plot([start_s + seconds] * 2, [0, 1.06 * top], color=INK, linewidth=0.6, zorder=3)
    tails = [
        {share: start_s + seconds for share, seconds in report.tail.items()} for report, start_s in found
    ]
    for word, seconds in tail_labels(tails, end_s):
        axes.text(
            seconds,
            1.1 * top,
            word,
            ha="center",
            va="bottom",
            fontsize=_MARK,
            zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )


def tail_labels(tails: Sequence[Mapping[str, float]], end_s: float) -> Iterator[tuple[str, float]]:
    """Labels and the seconds of their middles.

    Shares whose labels would lie upon each other have one together; one that would reach into the label
    before it, or over the axis, is moved or left out.

    >>> list(tail_labels([{"50": 200.0, "90": 990.0, "99": 995.0, "100": 1000.0}], 2000.0))
    [('50', 200.0), ('90–100', 995.0)]
    """
    per_inch = end_s / DRAWN
    reached = 0.0
    for tail in sorted(tails, key=lambda tail: min(tail.values())):
        for cluster in _clusters(tail, apart=(text_inches("100", _MARK) + 3 * POINT) * per_inch):
            word = "–".join(dict.fromkeys((cluster[0][0], cluster[-1][0])))
            middle = (cluster[0][1] + cluster[-1][1]) / 2
            half = text_inches(word, _MARK) * per_inch / 2
            place = max(middle, reached + half)
            if place - middle <= half:
                yield word, place
                reached = place + half + 2 * POINT * per_inch


def _clusters(tail: Mapping[str, float], *, apart: float) -> list[list[tuple[str, float]]]:
    """Shares and seconds, together where one follows closely upon the other."""
    clusters: list[list[tuple[str, float]]] = []
    for share, seconds in tail.items():
        if clusters and seconds - clusters[-1][-1][1] < apart:
            clusters[-1].append((share, seconds))
        else:
            clusters.append([(share, seconds)])
    return clusters


def _area_keys(reports: Sequence[GenerationReport]) -> tuple[Key, ...]:
    is_many = len({report.iteration for report in reports}) > 1
    tints = tuple(Patch(facecolor=tinted(BLUE, share)) for share in ((0, _TINT) if is_many else (0,)))
    mark = Line2D([], [], color=INK, linewidth=0.6, marker="|", linestyle="none", markersize=7)
    words = "even and odd iterations" if is_many else "all replicas"
    return (tints, words), (mark, f"when {', '.join(reports[0].tail)} % of the responses are done")


def comparison_strips(reports: Sequence[GenerationReport]) -> list[Strip]:
    """Generations upon each other, each from its own start."""
    reports = [report for report in reports if report.curve]
    if not reports:
        return []
    lines = [_line(index, len(reports)) for index in range(len(reports))]
    words = _distinct_words(reports)
    keys: list[Key] = [
        (Line2D([], [], **line), f"{word}: {format_seconds(report.seconds)}")
        for line, word, report in zip(lines, words, reports, strict=True)
    ]
    strips = [
        Strip(
            inches=1.2,
            draw=_overlay(quantity, reports, lines),
            heading="" if index else _heading(reports),
            keys=() if index else tuple(keys),
            label=quantity.label,
        )
        for index, quantity in enumerate(_quantities(reports))
    ]
    label = f"responses done, %, marked at {', '.join(reports[0].tail)}"
    return [*strips, Strip(inches=1.2, draw=_tails(reports, lines), label=label)]


def _line(index: int, count: int) -> dict[str, Any]:
    """A colour from dark to light, and dashes, so that lines are told apart without colours too."""
    colour = to_hex(colormaps["viridis"](0.85 * index / max(1, count - 1)))
    dashes = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)))[index % 4]
    return {"color": colour, "linestyle": dashes, "linewidth": 1.2}


def _distinct_words(reports: Sequence[GenerationReport]) -> list[str]:
    """The calls' names where there are several, and the iterations' numbers where there are several."""
    calls, iterations = ({report.call for report in reports}, {report.iteration for report in reports})
    return [
        ", ".join(
            [
                *([report.call] if len(calls) > 1 or len(iterations) == 1 else []),
                *([f"iteration {report.iteration}"] if len(iterations) > 1 else []),
            ]
        )
        for report in reports
    ]


def _overlay(
    quantity: _Quantity, reports: Sequence[GenerationReport], lines: Sequence[dict[str, Any]]
) -> Callable[[Axes], None]:
    top = quantity.limit or max(quantity.of(moment) for report in reports for moment in report.curve)

    def draw(axes: Axes) -> None:
        _upwards(axes, 1.1 * top)
        for report, line in zip(reports, lines, strict=True):
            times = [(moment.start_s + moment.end_s) / 2 for moment in report.curve]
            axes.plot(times, [quantity.of(moment) for moment in report.curve], **line)

    return draw


def _tails(reports: Sequence[GenerationReport], lines: Sequence[dict[str, Any]]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        _upwards(axes, 110.0)
        for report, line in zip(reports, lines, strict=True):
            times, shares = list(report.tail.values()), [float(share) for share in report.tail]
            axes.plot(times, shares, marker="o", markersize=3.5, clip_on=False, **line)

    return draw
