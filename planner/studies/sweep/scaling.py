"""What rows of a sweep say together: how throughput grows with the devices."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from planner.domain.sweep import Figures, Row


def scaling_key(points: Sequence[tuple[Mapping[str, Any], int | None]]) -> str | None:
    """The key along which the number of devices changes; of several the one of most values.

    Parameters
    ----------
    points
        Settings, and devices of the cluster; none where they are not known.

    >>> scaling_key([({"nodes": 1, "prompts": 8}, 8), ({"nodes": 2, "prompts": 8}, 16)])
    'nodes'
    """
    keys = dict.fromkeys(key for settings, _ in points for key in settings)
    counts = {key: len({_text(settings.get(key)) for settings, _ in points}) for key in keys}
    growing = [key for key in keys if counts[key] > 1 and _grows(key, points)]
    return max(growing, key=lambda key: counts[key], default=None)


def scaled(rows: Iterable[Row], key: str | None) -> Iterator[Row]:
    """The rows with their scaling efficiency along a key, against the first row with figures of each series.

    Parameters
    ----------
    rows
        In the order of the grid.
    """
    first: dict[str, Figures] = {}
    for row in rows:
        if key is None or row.figures is None:
            yield row
            continue
        base = first.setdefault(_series(row.settings, key), row.figures)
        yield row.model_copy(update={"scaling_efficiency": _efficiency(row.figures, base)})


def _efficiency(figures: Figures, base: Figures) -> float:
    """Strong scaling efficiency (HybridFlow, section 8.2)."""
    speedup = figures.tokens_per_second / base.tokens_per_second
    return speedup * base.cluster_devices / figures.cluster_devices


def _grows(key: str, points: Sequence[tuple[Mapping[str, Any], int | None]]) -> bool:
    """Whether two points that differ in this key only have different numbers of devices."""
    first: dict[str, int] = {}
    return any(
        devices is not None and first.setdefault(_series(settings, key), devices) != devices
        for settings, devices in points
    )


def _series(settings: Mapping[str, Any], key: str) -> str:
    """All settings but one."""
    return _text({other: value for other, value in settings.items() if other != key})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
