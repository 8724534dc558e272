"""The grid of a sweep: all combinations of the values that ``--set`` lists, checked before any of it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import planner
from hybridmap.settings import Setting, parse_settings, refuse_contradictory_pins, with_settings
from planner.domain.choice import Choice
from planner.domain.plan import Solver
from planner.domain.reading import Keys, parse_scenario
from planner.domain.scenario import FixedPlacement
from planner.domain.sweep import format_setting
from planner.errors import InfeasibleError, SpecError
from planner.studies.sweep.checking import check_scenario

MOST_POINTS = 100_000
_MOST_MISTAKES = 40
_OPTION = "--set"
_OPENING, _CLOSING = "[{(", "]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One key and the values that it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All points of a sweep, by number: the last axis changes fastest."""

    keys: Keys
    """Of the scenario that is changed."""
    axes: tuple[Axis, ...]
    before: tuple[Setting, ...] = ()
    """Changes that all points share and that the axes' may change further."""
    after: tuple[Setting, ...] = ()
    """Those that come last."""
    placement: FixedPlacement | None = None
    is_kept: bool = False
    """Whether a plan is kept at all points, so that a scenario that no plan can be made for ends nothing."""

    def __len__(self) -> int:
        return prod(len(axis.values) for axis in self.axes)

    def places(self, number: int) -> tuple[int, ...]:
        """Of each axis the number of the point's value."""
        found: list[int] = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis.values))
            found.append(place)
        return tuple(reversed(found))

    def settings(self, number: int) -> dict[str, Any]:
        """The point's value of each key."""
        return {
            axis.key: axis.values[place] for axis, place in zip(self.axes, self.places(number), strict=True)
        }

    def scenario(self, number: int) -> planner.Scenario:
        """The point's scenario.

        Raises
        ------
        SpecError
            Lists every mistake of the point's settings and of the scenario that they make.
        InfeasibleError
            Demands of the point contradict each other.
        """
        settings = [Setting(key, value, _OPTION) for key, value in self.settings(number).items()]
        settings = [*self.before, *settings, *self.after]
        value = _changed(self.keys.value, settings)
        refuse_contradictory_pins(settings)
        scenario = parse_scenario(value, where=self.keys.where, relative_to=self.keys.relative_to)
        if not self.is_kept:
            check_scenario(scenario, where=self.keys.where)
        return planner.fixed_placement(scenario, self.placement) if self.placement else scenario

    @property
    def varied(self) -> dict[str, tuple[Any, ...]]:
        """The values of each key that has more than one."""
        return {axis.key: axis.values for axis in self.axes if len(axis.values) > 1}

    @property
    def star(self) -> Iterator[int]:
        """Numbers of the points that differ from the first in one key at most: each value once or more."""
        yield 0
        for at, axis in enumerate(self.axes):
            step = prod(len(later.values) for later in self.axes[at + 1 :])
            yield from range(step, step * len(axis.values), step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be computed at each point of a grid."""

    grid: Grid
    given: Choice | None
    """The plan that is kept; none where each point has its best one."""
    solver: Solver
    seed: int
    simulates: bool
    """Whether the plans' iterations are played."""


def parse_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """The axes of texts such as ``workload.prompts=256,512``; a value may be a list or a map in YAML.

    Raises
    ------
    SpecError
        One line per text that is none, per value that is none or is there twice, and per key given twice; or
        there are too many points.
    """
    axes: list[Axis] = []
    mistakes: list[str] = []
    for text in texts:
        key, _, written = text.partition("=")
        pieces = _pieces(written)
        try:
            values = tuple(_values(text, key, pieces))
        except SpecError as mistake:
            mistakes += str(mistake).splitlines()
            continue
        if any(axis.key == key for axis in axes):
            mistakes.append(
                f"command line: {_OPTION} {key}: is given twice; list all its values at once, as {key}=1,2"
            )
        axes.append(Axis(key=key, values=values))
    points = prod(len(axis.values) for axis in axes)
    if points > MOST_POINTS:
        sizes = " x ".join(str(len(axis.values)) for axis in axes)
        mistakes.append(
            f"command line: {_OPTION}: {points:,} points ({sizes}), at most {MOST_POINTS:,}; "
            "list fewer values"
        )
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return tuple(axes)


def check(grid: Grid, advance: Callable[[int], None] = lambda count: None) -> None:
    """Refuse a grid with a point that is no scenario.

    Parameters
    ----------
    advance
        Told how many points have been looked at since its last call.

    Raises
    ------
    SpecError
        Lists the mistakes of all points, each once, with the values that make it.
    """
    found: dict[str, _Mistake] = {}
    for number in range(len(grid)):
        try:
            grid.scenario(number)
        except InfeasibleError:
            pass
        except SpecError as error:
            for line in str(error).splitlines():
                found.setdefault(line, _Mistake(line)).add(grid.places(number))
        advance(1)
    if found:
        lines = [mistake.words(grid) for mistake in found.values()]
        more = [f"... and {len(lines) - _MOST_MISTAKES} more"] if len(lines) > _MOST_MISTAKES else []
        raise SpecError("\n".join(lines[:_MOST_MISTAKES] + more))


@dataclass(slots=True)
class _Mistake:
    """What is wrong at some points of a grid."""

    line: str
    count: int = 0
    places: list[set[int]] = field(default_factory=list)
    """Of each axis the numbers of the values under which it was found."""

    def add(self, places: Sequence[int]) -> None:
        """Note one more point where it was found."""
        self.places = self.places or [set() for _ in places]
        self.count += 1
        for seen, place in zip(self.places, places, strict=True):
            seen.add(place)

    def words(self, grid: Grid) -> str:
        """The line, and which settings are to blame: those that it needs, and those of the key it names."""
        blamed = [
            f"{_OPTION} {axis.key}={','.join(format_setting(axis.values[place]) for place in sorted(seen))}"
            for axis, seen in zip(grid.axes, self.places, strict=True)
            if len(seen) < len(axis.values) or _names(axis.key, self.line)
        ]
        if not blamed or any(each in self.line for each in blamed):
            return self.line
        return f"{self.line} ({' '.join(blamed)})"


def _names(key: str, line: str) -> bool:
    """Whether a line is about a key of the command line, or about what lies in it."""
    pattern = r"\.".join(r"\d+" if part == "*" else re.escape(part) for part in key.split("."))
    return re.search(rf"(?<![\w.]){pattern}(?![\w])", re.sub(r"\[(\d+)\]", r".\1", line)) is not None


def _changed(value: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    """The keys with all settings; raises SpecError with what is wrong about any of them."""
    mistakes: list[str] = []
    for setting in settings:
        try:
            value = with_settings(value, [setting])
        except SpecError as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return value


def _values(text: str, key: str, pieces: Sequence[str]) -> Iterator[Any]:
    """The values of a text's pieces, each once; a single one may be empty."""
    if len(pieces) == 1:
        yield from (setting.value for setting in parse_settings([text]))
        return
    seen: set[str] = set()
    mistakes: list[str] = []
    values: list[Any] = []
    for piece in pieces:
        where = f"command line: {_OPTION} {text}"
        if not piece.strip():
            mistakes.append(f"{where}: there is nothing between two commas; write {key}=1,2")
            continue
        try:
            values += [setting.value for setting in parse_settings([f"{key}={piece}"])]
        except SpecError as mistake:
            mistakes.append(str(mistake))
            continue
        if repr(values[-1]) in seen:
            mistakes.append(f"{where}: {piece.strip()} is there twice")
        seen.add(repr(values[-1]))
    if mistakes:
        raise SpecError("\n".join(mistakes))
    yield from values


def _pieces(text: str) -> list[str]:
    """A text cut at its commas outside of brackets and quotes.

    >>> _pieces("1,[2, 3],{a: 4, b: 5}"), _pieces("'a,b',c")
    (['1', '[2, 3]', '{a: 4, b: 5}'], ["'a,b'", 'c'])
    """
    pieces, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"" and (depth or not pieces[-1].strip()):
            quote = sign
        elif sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        if sign == "," and not depth and not quote:
            pieces.append("")
        else:
            pieces[-1] += sign
    return pieces
