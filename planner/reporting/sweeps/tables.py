"""Rows of a sweep for a terminal, and as CSV."""

import csv
import io
from collections.abc import Sequence

from rich.table import Table

from planner.domain.sweep import FIGURES, Row, figure, format_setting
from planner.reporting.sweeps.axes import short_names
from planner.reporting.tables import blank_table
from planner.units import format_seconds

_SHOWN = 50
"""Rows that a terminal gets; a file has them all."""
_LONGEST_WHOLE = 32
"""Signs of a setting that is kept in one line."""
_LEAST_WORDS = 16
"""Signs of a line of the last column."""


def csv_text(rows: Sequence[Row]) -> str:
    """All rows under one line of names: the keys, the status, the figures and the reason.

    Numbers are written so that they are read as the same ones; what a row does not have is empty.
    """
    keys = list(rows[0].settings) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "status", *FIGURES, "reason"])
    for row in rows:
        settings = [format_setting(row.settings[key]) for key in keys]
        figures = [_written(figure(row, name)) for name in FIGURES]
        writer.writerow([*settings, row.status, *figures, row.reason])
    return text.getvalue()


def sweep_table(rows: Sequence[Row], *, keys: Sequence[str], title: str) -> Table:
    """The keys that vary and the figures that are asked for most.

    Parameters
    ----------
    keys
        Those that have more than one value.
    """
    has_prices = any(figure(row, "dollars_per_million_tokens") is not None for row in rows)
    has_scaling = any(row.scaling_efficiency is not None for row in rows)
    is_simulated = any(figure(row, "simulated_seconds") is not None for row in rows)
    has_jobs = any(figure(row, "job_hours") is not None for row in rows)
    names = short_names(keys)
    heads = [
        *names.values(),
        "status",
        "iteration",
        *(["simulated", "tail"] if is_simulated else []),
        *(["job"] if has_jobs else []),
        "tokens/s",
        *(["$/M tokens"] if has_prices else []),
        "devices",
    ]
    heads += ["scaling"] if has_scaling else []
    heads += ["placement, or why none"]
    long = {
        name
        for key, name in names.items()
        if any(len(format_setting(row.settings[key])) > _LONGEST_WHOLE for row in rows[:_SHOWN])
    }
    table = blank_table(title, *heads, whole=[head for head in heads[:-1] if head not in long])
    table.columns[-1].min_width = _LEAST_WORDS
    shown = {
        "has_prices": has_prices,
        "has_scaling": has_scaling,
        "is_simulated": is_simulated,
        "has_jobs": has_jobs,
    }
    for row in rows[:_SHOWN]:
        table.add_row(*_cells(row, keys, **shown))
    if len(rows) > _SHOWN:
        table.caption = f"{len(rows) - _SHOWN} more; --out writes all"
    return table


def _cells(
    row: Row,
    keys: Sequence[str],
    *,
    has_prices: bool,
    has_scaling: bool,
    is_simulated: bool,
    has_jobs: bool,
) -> list[str]:
    settings = [format_setting(row.settings[key]) for key in keys]
    of = row.figures
    if of is None:
        return [
            *settings,
            row.status,
            *[""] * (3 + has_prices + has_scaling + 2 * is_simulated + has_jobs),
            _shortened(row.reason),
        ]
    price, efficiency = of.dollars_per_million_tokens, row.scaling_efficiency
    return [
        *settings,
        row.status,
        format_seconds(of.iteration_seconds),
        *([_seconds(of.simulated_seconds), _seconds(of.tail_seconds)] if is_simulated else []),
        *(["" if of.job_hours is None else f"{of.job_hours:,.2f} h"] if has_jobs else []),
        f"{of.tokens_per_second:,.0f}",
        *(["" if price is None else f"{price:.4g}"] if has_prices else []),
        str(of.devices),
        *(["" if efficiency is None else f"{100 * efficiency:.0f} %"] if has_scaling else []),
        of.placement,
    ]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else format_seconds(seconds)


def _shortened(reason: str) -> str:
    """The first of several reasons."""
    first, more, _ = reason.partition("; ")
    return f"{first}; ..." if more else first


def _written(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)
