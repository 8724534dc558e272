"""What devices hold over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from planner.domain.generated import GenerationReport
from planner.domain.plan import Plan, Pool
from planner.domain.timeline import Span, Timeline
from planner.reporting.figures.palette import FAINT, GROUPS, INK, grey, tinted
from planner.reporting.figures.sheet import DRAWN, POINT, RIGHT, SMALL, Key, Strip, fitted, spread
from planner.reporting.occupancy import Holding, holdings, persistent_bytes, placed, usable_bytes
from planner.units import GIB, format_bytes

_CACHE = "KV cache"
_RESERVED = 0.62
"""White in the colour of the cache's bytes that hold nothing yet."""
_LEAST_SHOWN = 0.004
"""Of the usable memory: what never takes more has no entry in the legend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """Of each device of one pool."""

    pool: Pool
    stays: dict[str, int]
    """Bytes by role."""
    calls: list[Holding]
    usable: int
    fillings: list[tuple[GenerationReport, Span]]
    """Generations that say how their caches fill."""

    @property
    def peak(self) -> int:
        taken = (sum(call.bytes_by_group.values()) for call in self.calls)
        return sum(self.stays.values()) + max(taken, default=0)

    @property
    def label(self) -> str:
        """The pool, and how full its devices become."""
        share = f"{100 * self.peak / self.usable:.0f} %"
        return (
            f"{self.pool.name}, {self.pool.devices} × {self.pool.node_pool}: "
            f"at most {format_bytes(self.peak)} of {format_bytes(self.usable)} ({share})"
        )


def memory_strips(
    timeline: Timeline, plan: Plan, generation: Sequence[GenerationReport] = (), *, end_s: float
) -> list[Strip]:
    """For each pool what stays on a device, by role, and upon it what each call takes while it runs."""
    memories = [_memory(timeline, plan, pool, generation) for pool in plan.pools]
    inches = 0.95 if len(memories) <= 4 else 0.75
    return [
        Strip(
            inches=inches,
            draw=_drawing(memory, end_s, inches),
            heading="" if index else "Memory of each device, GiB",
            keys=() if index else _keys(memories),
            label=memory.label,
        )
        for index, memory in enumerate(memories)
    ]


def _memory(timeline: Timeline, plan: Plan, pool: Pool, generation: Sequence[GenerationReport]) -> _Memory:
    return _Memory(
        pool=pool,
        stays=persistent_bytes(plan, pool.name),
        calls=holdings(timeline, plan, pool.name),
        usable=usable_bytes(plan, pool.name),
        fillings=[
            (report, span)
            for report, span in placed(timeline, generation)
            if span.pool == pool.name and report.curve
        ],
    )


def _drawing(memory: _Memory, end_s: float, inches: float) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.set_ylim(0, 1.1 * max(memory.usable, memory.peak) / GIB)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 4, 5, 10]))
        layers = _draw_stays(axes, memory, end_s)
        for call in memory.calls:
            _draw_call(axes, call, sum(memory.stays.values()))
        for report, span in memory.fillings:
            _draw_filling(axes, memory, report, span)
        axes.axhline(memory.usable / GIB, color=INK, linewidth=0.9, linestyle=(0, (4, 2)), zorder=4)
        layers[f"usable {memory.usable / GIB:.1f}"] = memory.usable / GIB
        _name_layers(axes, layers, inches)

    return draw


def _draw_stays(axes: Axes, memory: _Memory, end_s: float) -> dict[str, float]:
    """Draw the layers of what stays, and say where their middles are."""
    base, middles = 0.0, {}
    for index, (role, count) in enumerate(memory.stays.items()):
        height = count / GIB
        _box(axes, (0, end_s), base, height, grey(index, len(memory.stays)))
        middles[f"{role} {height:.1f}"] = base + height / 2
        base += height
    return middles


def _draw_call(axes: Axes, call: Holding, stays: int) -> None:
    base = stays / GIB
    for group, count in call.bytes_by_group.items():
        colour = tinted(GROUPS[group], _RESERVED) if group == _CACHE else GROUPS[group]
        _box(axes, (call.start_s, call.end_s), base, count / GIB, colour)
        base += count / GIB


def _box(axes: Axes, seconds: tuple[float, float], base: float, height: float, colour: str) -> None:
    start, end = seconds
    box = Rectangle(
        (start, base), end - start, height, facecolor=colour, edgecolor="white", linewidth=0.3, zorder=2
    )
    axes.add_patch(box)


def _draw_filling(axes: Axes, memory: _Memory, report: GenerationReport, span: Span) -> None:
    """The held part of the reserved cache, as a step of each moment."""
    call = next(
        call for call in memory.calls if (call.call, call.iteration) == (report.call, report.iteration)
    )
    groups = list(call.bytes_by_group)
    if _CACHE not in groups:
        return
    beneath = [call.bytes_by_group[group] for group in groups[: groups.index(_CACHE)]]
    base = (sum(memory.stays.values()) + sum(beneath)) / GIB
    room = call.bytes_by_group[_CACHE] / GIB
    times = [span.start_s + moment.start_s for moment in report.curve]
    held = [base + min(1.0, moment.cache_share) * room for moment in report.curve]
    times, held = [*times, span.start_s + report.curve[-1].end_s], [*held, held[-1]]
    colour = GROUPS[_CACHE]
    axes.fill_between(times, base, held, step="post", color=colour, linewidth=0, zorder=2.5)
    axes.step(times, held, where="post", color=colour, linewidth=0.9, zorder=3)


def _name_layers(axes: Axes, middles: dict[str, float], inches: float) -> None:
    """Each layer's name beside its right end, moved where two would meet."""
    low, high = axes.get_ylim()
    apart = 1.25 * SMALL * POINT / inches * (high - low)
    ordered = sorted(middles.items(), key=lambda item: item[1])
    places = spread([middle for _, middle in ordered], apart=apart, low=low + apart / 2, high=high)
    for (name, middle), place in zip(ordered, places, strict=True):
        axes.annotate(
            fitted(name, SMALL, RIGHT - 0.25),
            xy=(1, middle),
            xycoords=("axes fraction", "data"),
            xytext=(1 + 0.14 / DRAWN, place),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=SMALL,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 0},
        )


def _keys(memories: Sequence[_Memory]) -> tuple[Key, ...]:
    """What is drawn anywhere in a size that can be seen."""
    shown = {
        group
        for memory in memories
        for call in memory.calls
        for group, count in call.bytes_by_group.items()
        if count > _LEAST_SHOWN * memory.usable
    }
    keys: list[Key] = [(tuple(Patch(facecolor=grey(i, 3)) for i in range(3)), "stays, by role")]
    for group, colour in GROUPS.items():
        if group in shown and group == _CACHE:
            keys.append((Patch(facecolor=tinted(colour, _RESERVED)), f"{group}, reserved"))
            keys += [(Patch(facecolor=colour), f"{group}, held")] if any(m.fillings for m in memories) else []
        elif group in shown:
            keys.append((Patch(facecolor=colour), group))
    return tuple(keys)
