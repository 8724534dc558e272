"""Prices, gains and differences of plans on a terminal."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.domain.placement import format_placement
from planner.domain.plan import Plan, Proof
from planner.reporting.tables import blank_table
from planner.reporting.words import (
    change_of,
    format_change,
    format_objective,
    format_share,
    iteration_words,
    proof_words,
)
from planner.units import format_bytes, format_bytes_per_s, format_flops_per_s, format_seconds

SHOWN_CALLS = 3
"""Calls named in one cell of a table."""

_NOTHING = 1e-9
"""Shares below are rounding."""

_QUANTITY = re.compile(r"([\d.e+-]+) (B|B/s|FLOP/s|s)")
"""As plans write one."""
_FORMATS: dict[str, Callable[[float], str]] = {
    "B": format_bytes,
    "B/s": format_bytes_per_s,
    "FLOP/s": format_flops_per_s,
    "s": format_seconds,
}

CallGrowth = tuple[str, float | None, float | None]
"""A call's name and its seconds in two plans; none where a plan has no such call."""


def price_report(
    words: str,
    plans: tuple[Plan, Plan],
    *,
    change: tuple[float, float],
    calls: Sequence[CallGrowth],
    heads: tuple[str, str] = ("before", "after"),
    is_proven: bool = True,
) -> RenderableType:
    """What a second plan loses against a first: in the objective, by call, by placement.

    Parameters
    ----------
    change
        The difference in the first plan's objective, positive where the second is worse, and its share.
    is_proven
        Whether no search behind it was stopped early.
    """
    amount, share = change
    doubt = "" if is_proven else "; a search was stopped early, so that the difference may be another"
    verdict = f"{words} {change_words(amount, share, plans[0].proof)}{doubt}"
    table = blank_table("", "", *heads)
    rows: list[tuple[str, Callable[[Plan], str]]] = [
        ("placement", lambda plan: format_placement(plan.placement)),
        ("devices", lambda plan: " + ".join(str(pool.devices) for pool in plan.pools)),
        ("objective", lambda plan: format_objective(plan.proof.objective, plan.proof.minimise)),
        ("iteration", lambda plan: format_seconds(plan.prediction.iteration_seconds)),
        ("stage cost", lambda plan: format_seconds(plan.prediction.stage_cost_seconds)),
        ("proof", lambda plan: proof_words(plan.proof)),
    ]
    for head, words_of in rows:
        table.add_row(head, *map(words_of, plans))
    return Group(Text(verdict, style="bold"), table, _call_table(calls, heads))


def change_words(amount: float, share: float, proof: Proof) -> str:
    """A price in words: what is lost, gained, or that nothing is."""
    if abs(share) < _NOTHING:
        return "costs nothing"
    verb = "costs" if amount > 0 else "gains"
    change = format_share(change_of(share, proof.minimise))
    return f"{verb} {format_objective(abs(amount), proof.minimise)} ({change})"


def _call_table(calls: Sequence[CallGrowth], heads: tuple[str, str]) -> RenderableType:
    if not calls:
        return Text("every call takes as long in both")
    table = blank_table("Calls that differ", "call", *heads, "difference")
    for name, before, after in calls:
        growth = format_change((after or 0.0) - (before or 0.0), "seconds")
        table.add_row(name, _seconds(before), _seconds(after), growth)
    return table


def critical_report(plan: Plan, words: str, calls: Sequence[tuple[str, str, float]]) -> RenderableType:
    """What decides the plan's seconds.

    Parameters
    ----------
    calls
        Name, pool and seconds of each critical call.
    """
    title = Text(f"{plan.scenario.name}: {words}", style="bold")
    table = blank_table("", "call", "pool", "seconds")
    for name, pool, seconds in calls:
        table.add_row(name, pool or "no devices", format_seconds(seconds))
    return Group(title, table, Text(iteration_words(plan), style="italic"))


def gain_table(title: str, proof: Proof, gains: Sequence[tuple[str, float, float, str]]) -> Table:
    """What improvements buy.

    Parameters
    ----------
    gains
        Words, what is lost of the objective (below zero what is gained), its share, and calls that shrink.
    """
    table = blank_table(title, "improvement", "change of the objective", "share", "calls that shrink")
    for words, amount, share, calls in gains:
        change, part = (change_of(loss, proof.minimise) for loss in (amount, share))
        table.add_row(words, format_change(change, proof.minimise), format_share(part), calls)
    return table


def shrinking_words(calls: Sequence[CallGrowth]) -> str:
    """The calls that shrink most, with their seconds."""
    growths = sorted((((after or 0.0) - (before or 0.0)), name) for name, before, after in calls)
    shrinking = [(growth, name) for growth, name in growths if growth < 0][:SHOWN_CALLS]
    return ", ".join(f"{name} {format_change(growth, 'seconds')}" for growth, name in shrinking)


def difference_report(sections: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> RenderableType:
    """One table per section that has differences."""
    tables = [_difference_table(name, pairs) for name, pairs in sections.items() if pairs]
    return Group(*tables) if tables else Text("the plans are the same")


def _difference_table(name: str, pairs: Mapping[str, tuple[Any, Any]]) -> Table:
    table = blank_table(name.capitalize(), "what", "first", "second")
    for key, (one, other) in pairs.items():
        table.add_row(key, *(_value(value, in_bytes=name == "memory") for value in (one, other)))
    return table


def _value(value: Any, *, in_bytes: bool) -> str:
    if value is None:
        return "-"
    if in_bytes:
        return format_bytes(value)
    if isinstance(value, str) and (quantity := _QUANTITY.fullmatch(value)):
        return _FORMATS[quantity[2]](float(quantity[1]))
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)
