"""How a picture shows which key of a sweep: along x, by colour, by style of line, in panels of their own."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from planner.domain.sweep import Row, figure, format_setting

_MOST = {"colour": 20, "style": 4, "panel": 12}
"""How many values each of these tells apart."""
_WIDE = 10.0
"""Greatest over least value from which on a scale may be logarithmic."""
_STEP = 1.1
"""How many times as long as another a step on a logarithmic scale may be to look like one."""
_NUMBER = re.compile(r"\s*([-+]?[0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z/]*)\s*")

Values = Mapping[str, Sequence[Any]]
"""By key that varies, its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """How keys are shown; none of a key where fewer vary."""

    x: str
    colour: str | None = None
    style: str | None = None
    panel: str | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """All but that along x."""
        return tuple(key for key in (self.colour, self.style, self.panel) if key is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where values stand along x."""

    places: tuple[float, ...]
    unit: str = ""
    is_numeric: bool = True
    is_logarithmic: bool = False


def axes_of(values: Values, *, x: str | None = None) -> Axes:
    """The key along x, by default the numeric one of most values; the others in their order.

    Raises
    ------
    ValueError
        Says why nothing can be drawn.
    """
    if not values:
        raise ValueError("no key has more than one value")
    numeric = [key for key in values if numbers_of(values[key])]
    along = x or max(numeric or values, key=lambda key: len(values[key]))
    found = {"x": along}
    for key in sorted((key for key in values if key != along), key=lambda key: -len(values[key])):
        count = len(values[key])
        how = next((how for how, most in _MOST.items() if how not in found and count <= most), None)
        if how is None:
            left = ", ".join(f"{most} by {how}" for how, most in _MOST.items() if how not in found)
            raise ValueError(
                f"{key} has {count} values, and beside the other keys a picture shows "
                + (f"at most {left}" if left else "no more keys")
            )
        found[how] = key
    return Axes(**found)


def scale_of(values: Sequence[Any]) -> Scale:
    """Where a key's values stand: as the numbers that they are, logarithmic where they grow by factors."""
    found = numbers_of(values)
    if found is None:
        return Scale(places=tuple(map(float, range(len(values)))), is_numeric=False)
    numbers, unit = found
    return Scale(places=numbers, unit=unit, is_logarithmic=_grow_by_factors(numbers))


def numbers_of(values: Sequence[Any]) -> tuple[tuple[float, ...], str] | None:
    """Values as numbers of one unit; none where they are something else.

    >>> numbers_of([1, 2.5]), numbers_of(["100 Gbit/s", "200 Gbit/s"]), numbers_of(["ppo", "grpo"])
    (((1.0, 2.5), ''), ((100.0, 200.0), 'Gbit/s'), None)
    """
    found = [_number(value) for value in values]
    known = [each for each in found if each is not None]
    if len(known) < len(found) or len({unit for _, unit in known}) != 1:
        return None
    return tuple(number for number, _ in known), known[0][1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each key without what is not needed to tell it from the others.

    >>> short_names(["cluster.node_pools.*.nodes", "workload.prompts"])
    {'cluster.node_pools.*.nodes': 'nodes', 'workload.prompts': 'prompts'}
    """
    names: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        names[key] = next(
            end for end in ends if end == key or not any(_ends(other, end) for other in keys if other != key)
        )
    return names


def series(rows: Sequence[Row], axes: Axes, y: str) -> dict[tuple[str, ...], list[Row]]:
    """The rows that have a figure, by the values of all keys but that along x."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if figure(row, y) is not None:
            name = tuple(format_setting(row.settings[key]) for key in axes.others)
            found.setdefault(name, []).append(row)
    return found


def _ends(key: str, end: str) -> bool:
    return key == end or key.endswith(f".{end}")


def _number(value: Any) -> tuple[float, str] | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return (float(match[1].replace("_", "")), match[2]) if match else None


def _grow_by_factors(numbers: Sequence[float]) -> bool:
    """Whether values reach over more than a factor of ten, in steps more equal as factors than as amounts."""
    ordered = sorted(set(numbers))
    if len(ordered) < 3 or ordered[0] <= 0 or ordered[-1] < _WIDE * ordered[0]:
        return False
    factors = [math.log(two / one) for one, two in pairwise(ordered)]
    amounts = [two - one for one, two in pairwise(ordered)]
    return max(factors) / min(factors) < max(amounts) / min(amounts) / _STEP
