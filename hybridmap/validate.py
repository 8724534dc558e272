"""``hybridmap validate``: how far the cost model is off on measured rows."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hybridmap import screen
from hybridmap.progress import row_progress
from planner.calibration.kinds import KINDS, kind_named
from planner.calibration.rows import RowError, mistakes_of, read_rows
from planner.calibration.score import Errors, Regret, Score, score
from planner.domain.catalog import read_device
from planner.reporting.tables import name_table

_COLUMNS = ("rows", "evaluated", "MAPE", "median", "p90", "worst", "bias", "inside the 90 % band")


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("validate")
    parser.add_argument("kind", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("data", type=Path, metavar="DATA.csv")
    parser.add_argument("--device", metavar="NAME", help="for files that name none in a column")
    screen.add_json(parser)
    parser.set_defaults(command=validate)


def validate(options: argparse.Namespace) -> None:
    """Score one file and show how far off the model is."""
    found = _score(options)
    screen.show(options, Group(*_report(options.kind, found)))
    screen.answer(options, _answer(options.kind, found))


def _score(options: argparse.Namespace) -> Score:
    kind = kind_named(options.kind)
    device = read_device(options.device) if options.device else None
    rows = read_rows(options.data, columns=kind.COLUMNS)
    mistakes: tuple[str, ...] = ()
    with row_progress(f"scoring {options.data.name}", total=len(rows)) as advance:
        try:
            return score(kind.evaluate(rows, device, advance), rows=len(rows))
        except RowError as error:
            mistakes = error.mistakes
    raise mistakes_of(options.data, mistakes)


def _report(kind: str, found: Score) -> list[RenderableType]:
    tables: list[RenderableType] = []
    if found.errors:
        parts = {"all": found.errors, **found.by_source}
        tables.append(_table(kind, "source", parts))
        if len(found.by_measure) > 1:
            tables.append(_table(kind, "measure", found.by_measure))
    tables.append(Text(f"{found.rows} rows: {found.evaluated} evaluated, {found.skipped} skipped"))
    tables += [Text(f"  skipped {count}: {reason}") for reason, count in found.skipped_reasons.items()]
    return tables + ([_regret_text(found.regret)] if found.regret else [])


def _table(kind: str, what: str, parts: Mapping[str, Errors]) -> RenderableType:
    rows = (
        (
            name,
            str(each.evaluated),
            *(_percent(value) for value in (each.mape, each.median, each.p90, each.worst)),
            f"{100 * each.bias:+.1f} %",
            _percent(each.coverage),
        )
        for name, each in parts.items()
    )
    return name_table(f"{kind}: predicted against measured", (what, *_COLUMNS[1:]), rows)


def _regret_text(regret: Regret) -> Text:
    return Text(
        f"choosing parallel sizes by the model, {regret.choices} choices: "
        f"regret {_percent(regret.mean)} on average, {_percent(regret.worst)} at worst"
    )


def _answer(kind: str, found: Score) -> dict[str, Any]:
    """The JSON object of ``validate --json``; null where nothing of a figure exists."""
    names = ("mape", "median", "p90", "worst", "bias", "coverage")
    return {
        "kind": kind,
        "rows": found.rows,
        "evaluated": found.evaluated,
        "skipped": found.skipped,
        "skipped_reasons": found.skipped_reasons,
        **{name: getattr(found.errors, name) if found.errors else None for name in names},
        "by_source": {name: asdict(errors) for name, errors in found.by_source.items()},
        "by_measure": {name: asdict(errors) for name, errors in found.by_measure.items()},
        "regret": found.regret.mean if found.regret else None,
    }


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
