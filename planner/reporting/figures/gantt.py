"""Pools and their calls over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from planner.domain.plan import Plan
from planner.domain.simulated import Idle
from planner.domain.timeline import Span, Timeline
from planner.reporting.figures.palette import FAINT, INK, KIND_WORDS, KINDS, RED, RULE, readable_on, tinted
from planner.reporting.figures.sheet import (
    DRAWN,
    LEFT,
    POINT,
    RIGHT,
    SMALL,
    TEXT,
    Key,
    Strip,
    fitted,
    packed,
    text_inches,
)
from planner.reporting.occupancy import Interval, gaps

_EDGE = 0.15
"""Inches from the sheet's edge to what is written there."""
_LANE = 0.26
"""Inches of a role's lane."""
_POOL_GAP = 0.4
"""Lanes between two pools."""
_THIN = 0.62
"""Lanes that the bar of an iteration takes."""
_TINT = 0.5
"""White in the colours of every second iteration."""
_IDLE: dict[str, Any] = {"facecolor": "#f7f7f7", "edgecolor": "#c4c4c4", "hatch": "/////", "linewidth": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The lanes of one pool."""

    pool: str
    roles: tuple[str, ...]
    top: float
    """Lanes above it."""

    @property
    def bottom(self) -> float:
        return self.top + len(self.roles)

    def lane(self, role: str) -> float:
        """The middle of a role's lane."""
        return self.top + self.roles.index(role) + 0.5


def timeline_strip(
    timeline: Timeline,
    *,
    end_s: float,
    plan: Plan | None = None,
    idle: Sequence[Idle] = (),
    heading: str = "Pools and their calls",
) -> Strip:
    """One row per pool with a lane for each of its roles, and above them each iteration from start to end.

    Parameters
    ----------
    plan
        Whose pools have devices to be named.
    idle
        What the devices waited for, where that is known.
    """
    rows = _iteration_rows(timeline)
    groups = _groups(timeline, plan, first=_THIN * len(rows) + (_POOL_GAP if rows else 0.0))
    lanes = groups[-1].bottom + 0.1 if groups else 1.0

    def draw(axes: Axes) -> None:
        axes.set_ylim(lanes, -0.1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        _draw_iterations(axes, rows, end_s)
        for group in groups:
            _draw_group(axes, timeline, group, end_s)
            _name_group(axes, group, plan)
            _write_busy(axes, group, _busy_words(timeline, idle, group.pool))
        _draw_syncs(axes, timeline, groups)

    return Strip(inches=_LANE * (lanes + 0.1), draw=draw, heading=heading, keys=_keys(timeline))


def _groups(timeline: Timeline, plan: Plan | None, *, first: float) -> list[_Group]:
    pools = [pool.name for pool in plan.pools] if plan else []
    pools += [pool for pool in timeline.pools if pool not in pools]
    groups, top = [], first
    for pool in pools:
        known = next((each.roles for each in plan.pools if each.name == pool), ()) if plan else ()
        found = tuple(dict.fromkeys(span.role for span in timeline.spans if span.pool == pool))
        group = _Group(pool=pool, roles=tuple(dict.fromkeys((*known, *found))), top=top)
        groups.append(group)
        top = group.bottom + _POOL_GAP
    return groups


def _iteration_rows(timeline: Timeline) -> list[list[Span]]:
    """From the first start to the last end of each iteration, in as few rows as keep them apart."""
    rows: list[list[Span]] = []
    for iteration in timeline.iterations if len(timeline.iterations) > 1 else ():
        spans = [span for span in timeline.spans if span.iteration == iteration]
        whole = spans[0].model_copy(
            update={
                "start_s": min(span.start_s for span in spans),
                "end_s": max(span.end_s for span in spans),
            }
        )
        free = next((row for row in rows if row[-1].end_s <= whole.start_s), None)
        if free is None:
            rows.append([whole])
        else:
            free.append(whole)
    return rows


def _draw_iterations(axes: Axes, rows: Sequence[Sequence[Span]], end_s: float) -> None:
    for index, row in enumerate(rows):
        for span in row:
            middle = (index + 0.5) * _THIN
            colour = "#6b6b6b" if span.iteration % 2 == 0 else "#b3b3b3"
            _bar(axes, span, middle, height=0.84 * _THIN, colour=colour, end_s=end_s)
            _write_on(axes, span, middle - 0.03, [f"{span.iteration}"], colour, end_s)
    if rows:
        _write_left(axes, "iteration", _THIN * len(rows) / 2, x=LEFT - 0.08, fontsize=SMALL)


def _draw_group(axes: Axes, timeline: Timeline, group: _Group, end_s: float) -> None:
    waits = [(start, end) for start, end in gaps(timeline, group.pool) if _inches(end - start, end_s) > POINT]
    for start, end in waits:
        size = (end - start, group.bottom - group.top)
        axes.add_patch(Rectangle((start, group.top), *size, **_IDLE))
    for edge in range(len(group.roles) + 1):
        is_inner = 0 < edge < len(group.roles)
        axes.axhline(group.top + edge, color=RULE if is_inner else FAINT, linewidth=0.5, zorder=1.5)
    is_numbered = len(timeline.iterations) > 1
    for role in group.roles:
        lane = [span for span in timeline.spans if (span.pool, span.role) == (group.pool, role)]
        for span in lane:
            free = _free_seconds(span, lane, waits, end_s)
            _draw_span(axes, span, group.lane(role), end_s, free=free, is_numbered=is_numbered)


def _free_seconds(span: Span, lane: Sequence[Span], waits: Sequence[Interval], end_s: float) -> float:
    """From a span's end until there is something in its lane again."""
    later = [other.start_s for other in lane if other is not span and other.end_s > span.end_s]
    hatched = [start for start, end in waits if end > span.end_s]
    return min([*later, *hatched, end_s]) - span.end_s


def _draw_span(
    axes: Axes, span: Span, middle: float, end_s: float, *, free: float, is_numbered: bool
) -> None:
    full = KINDS[span.kind]
    is_sync = span.kind in KIND_WORDS
    colour = tinted(full, _TINT) if span.iteration % 2 and not is_sync else full
    _bar(axes, span, middle, height=0.84, colour=colour, end_s=end_s, zorder=3 if is_sync else 2)
    method = span.call.partition("/")[2] or span.call.partition(".")[2] or span.call
    words = [f"{span.iteration} · {method}", f"{span.iteration}"] if is_numbered else [method]
    _write_on(axes, span, middle, words, colour, end_s, free=free)


def _bar(
    axes: Axes, span: Span, middle: float, *, height: float, colour: str, end_s: float, zorder: float = 2
) -> None:
    """Bars are set apart by white outlines; very short ones have their own colour's, to be seen at all."""
    is_short = _inches(span.seconds, end_s) < 4 * POINT
    box = Rectangle(
        (span.start_s, middle - height / 2),
        span.seconds,
        height,
        facecolor=colour,
        edgecolor=colour if is_short else "white",
        linewidth=0.8 if is_short else 0.5,
        zorder=zorder,
    )
    axes.add_patch(box)


def _inches(seconds: float, end_s: float) -> float:
    return seconds / end_s * DRAWN if end_s else 0.0


def _write_on(
    axes: Axes,
    span: Span,
    middle: float,
    words: Sequence[str],
    colour: str,
    end_s: float,
    *,
    free: float = 0.0,
) -> None:
    """The first of the words that fits into a span's bar, or else beside it, if any does."""
    inside, beside = _inches(span.seconds, end_s) - 4 * POINT, _inches(free, end_s) - 5 * POINT
    style: dict[str, Any] = {"va": "center_baseline", "fontsize": SMALL, "zorder": 4}
    for word in words:
        if text_inches(word, SMALL) <= inside:
            place = (span.start_s + span.end_s) / 2
            axes.text(place, middle, word, ha="center", color=readable_on(colour), **style)
            return
        if text_inches(word, SMALL) <= beside:
            place = span.end_s + 2.5 * POINT / DRAWN * end_s
            axes.text(place, middle, word, ha="left", **style)
            return


def _name_group(axes: Axes, group: _Group, plan: Plan | None) -> None:
    middle = (group.top + group.bottom) / 2
    pool = next((each for each in plan.pools if each.name == group.pool), None) if plan else None
    room = LEFT - 0.3 - max(text_inches(role, SMALL) for role in group.roles)
    name = fitted(group.pool, TEXT, room * 0.85)
    up = 0.6 * TEXT if pool else 0.0
    _write_left(axes, name, middle, x=_EDGE, up=up, ha="left", fontsize=TEXT, fontweight="bold")
    if pool:
        devices = fitted(f"{pool.devices} × {pool.node_pool}", SMALL, room)
        _write_left(axes, devices, middle, x=_EDGE, up=-0.7 * SMALL, ha="left", fontsize=SMALL)
    for role in group.roles:
        _write_left(axes, role, group.lane(role), x=LEFT - 0.08, fontsize=SMALL)


def _write_left(axes: Axes, text: str, lane: float, *, x: float, up: float = 0.0, **style: Any) -> None:
    """Write beside a lane, so many inches right of the sheet's edge and points above the lane's middle."""
    axes.annotate(
        text,
        xy=(0, lane),
        xycoords=("axes fraction", "data"),
        xytext=((x - LEFT) / POINT, up),
        textcoords="offset points",
        annotation_clip=False,
        **{"ha": "right", "va": "center_baseline", **style},
    )


def _write_busy(axes: Axes, group: _Group, words: Sequence[str]) -> None:
    """What the pool's devices did, in as many lines as there is room for."""
    most = max(1, int((len(group.roles) + _POOL_GAP) * _LANE / POINT / (1.2 * SMALL)))
    lines = list(words) if len(words) <= most else packed(words, SMALL, RIGHT - 0.12)
    axes.annotate(
        "\n".join(lines[:most]),
        xy=(1, (group.top + group.bottom) / 2),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        annotation_clip=False,
    )


def _busy_words(timeline: Timeline, idle: Sequence[Idle], pool: str) -> list[str]:
    """Shares of the device-seconds, the greatest cause first; of the time where nobody counted those."""
    known = next((each for each in idle if each.pool == pool), None)
    if known is None or not known.device_seconds:
        waits = sum(end - start for start, end in gaps(timeline, pool))
        return [f"busy {100 * (1 - waits / timeline.end_s):.0f} %"] if timeline.end_s else []
    shares = {"busy": known.busy, **dict(sorted(known.idle.items(), key=lambda cause: -cause[1]))}
    percent = {cause: 100 * seconds / known.device_seconds for cause, seconds in shares.items()}
    return [f"{cause} {share:.0f} %" for cause, share in percent.items() if cause == "busy" or share >= 0.5]


def _draw_syncs(axes: Axes, timeline: Timeline, groups: Sequence[_Group]) -> None:
    """An arrow from where weights are sent to where the same ones are received."""
    lanes = {(group.pool, role): group.lane(role) for group in groups for role in group.roles}
    sent = {span.iteration: span for span in timeline.spans if span.kind == "send"}
    for span in timeline.spans:
        source = sent.get(span.iteration) if span.kind == "receive" else None
        if source is not None:
            arrow = FancyArrowPatch(
                (source.end_s, lanes[source.pool, source.role]),
                (span.start_s, lanes[span.pool, span.role]),
                arrowstyle="-|>",
                mutation_scale=7,
                shrinkA=0,
                shrinkB=0,
                color=RED,
                linewidth=0.9,
                zorder=3.5,
            )
            axes.add_patch(arrow)


def _keys(timeline: Timeline) -> tuple[Key, ...]:
    kinds = {span.kind for span in timeline.spans}
    colours = {KIND_WORDS.get(kind, kind): colour for kind, colour in KINDS.items() if kind in kinds}
    keys: list[Key] = [(Patch(facecolor=colour), word) for word, colour in colours.items()]
    if len(timeline.iterations) > 1:
        tints = tuple(Patch(facecolor=tinted(INK, share)) for share in (0.3, 0.3 + 0.7 * _TINT))
        keys.append((tints, "even and odd iterations"))
    waits = any(gaps(timeline, pool) for pool in timeline.pools)
    return (*keys, *([(Patch(**_IDLE), "idle")] if waits else []))
