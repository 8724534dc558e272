"""The error tables of ``docs/validation.md``: held-out figures of every fit, and scores of whole files."""

import math
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from planner.calibration.device_files import records_of
from planner.calibration.kinds import KINDS
from planner.calibration.rows import RowError, mistakes_of, read_rows
from planner.calibration.score import Errors, Score, score
from planner.costs.uncertainty import (
    BEYOND_HALF_WIDTH,
    FLAT_HALF_WIDTH,
    FORWARD_HALF_WIDTH,
    FP8_HALF_WIDTH,
    MEMORY,
    RELATIVE_HALF_WIDTH,
    REPEATED,
    UNCALIBRATED,
)
from planner.domain.catalog import (
    SHIPPED,
    device_names,
    generation_stack_names,
    read_device,
    read_generation_stack,
    read_training_stack,
    training_stack_names,
)
from planner.domain.fits import FitRecord, Residuals
from planner.domain.quantities import Value
from planner.domain.text import read_text, write_text
from planner.errors import SpecError

TEMPLATE = SHIPPED / "docs" / "validation.in.md"
FILES: tuple[tuple[str, str, str | None], ...] = (
    ("gemm", "gemm_a100_sxm.csv", "a100-sxm-80gb"),
    ("gemm", "gemm_h100_sxm.csv", "h100-sxm-80gb"),
    ("attention-prefill", "attention_prefill_a100_sxm.csv", "a100-sxm-80gb"),
    ("attention-prefill", "attention_prefill_h100_sxm.csv", "h100-sxm-80gb"),
    ("attention-decode", "attention_decode_a100_sxm.csv", "a100-sxm-80gb"),
    ("attention-decode", "attention_decode_h100_sxm.csv", "h100-sxm-80gb"),
    ("collective", "collectives_aiconfigurator.csv", None),
    ("training", "end_to_end_training.csv", None),
    ("generation", "end_to_end_generation_silicon.csv", None),
    ("rl", "end_to_end_rl.csv", None),
    ("weight-sync", "weight_sync.csv", None),
)
"""Kinds, their files, and the device of files that name none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A quantity that is to be predicted so well."""

    quantity: str
    pattern: re.Pattern[str]
    """Of the names of the records that tell."""
    part: re.Pattern[str]
    """Of the records' rows; an empty one for all of them."""
    mape: float
    p90: float = math.inf

    @property
    def words(self) -> str:
        p90 = "" if math.isinf(self.p90) else f", p90 {_percent(self.p90)}"
        return f"MAPE {_percent(self.mape)}{p90}"


_ENGINE = r".*\.attention\.engines\..*"


def _aim(quantity: str, name: str, part: str, *, mape: float, p90: float = math.inf) -> Aim:
    return Aim(quantity=quantity, pattern=re.compile(name), part=re.compile(part), mape=mape, p90=p90)


AIMS: tuple[Aim, ...] = (
    _aim("bf16 GEMM, n and k of 512 and more", r".*\.gemm", "n, k >= 512", mape=0.05, p90=0.12),
    _aim("the same by the data sheet alone", r".*\.gemm", ".* by its data sheet, n, k >= 512", mape=0.1),
    _aim("prefill attention of 0.1 TFLOP and more", rf"{_ENGINE}\.prefill", "0.1 TFLOP and more", mape=0.05),
    _aim(
        "decode attention, GQA 4 to 8, 256 and more cached",
        rf"{_ENGINE}\.decode",
        "GQA 4 to 8, .*",
        mape=0.07,
    ),
    _aim("NVLink collectives of 4 MB and more", r"[ah]100.*\.collective", "4 MiB and more", mape=0.05),
    _aim("training step of an unseen model", r"nemo|megatron.*|composer-.*|fsdp", "", mape=0.05, p90=0.1),
    _aim("seconds per output token, unseen layout", r"vllm|trtllm|sglang", "", mape=0.05),
)
"""In the order of the page."""

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def write_report(folder: Path, out: Path, *, template: Path = TEMPLATE) -> None:
    """Fill the places ``{{name}}`` of the template with the tables of that name.

    Raises
    ------
    SpecError
        A file is missing or broken, or the template names a table that there is none of.
    """
    tables = tables_of(folder)
    text = read_text(template)
    unknown = sorted(set(_PLACE.findall(text)) - set(tables))
    if unknown:
        raise SpecError(f"{template}: no table {', '.join(unknown)}; there are {', '.join(tables)}")
    write_text(out, _PLACE.sub(lambda place: tables[place.group(1)](), text))


def _parts(record: FitRecord, pattern: re.Pattern[str]) -> Iterator[tuple[str, Residuals]]:
    """Parts of a record by their names; all of it, nameless, where an empty name is asked for."""
    for part, residuals in {"": record.held_out, **record.parts}.items():
        if pattern.fullmatch(part):
            yield part, residuals


def _aim_row(aim: Aim, name: str, part: str, residuals: Residuals) -> Sequence[str]:
    is_reached = residuals.mape <= aim.mape and residuals.p90 <= aim.p90
    fit = f"{name}, {part}" if part else name
    return (aim.quantity, fit, *_residual_cells(residuals), aim.words, "yes" if is_reached else "no")


def records_table() -> str:
    """Every fit of the catalog with its held-out figures."""
    head = (
        "fit",
        "fitted rows",
        "held out",
        "MAPE",
        "p90",
        "90 % band",
        "inside it",
        "shared",
        "own",
        "source",
    )
    rows = (
        (
            name,
            f"{record.rows:,}",
            *_residual_cells(record.held_out),
            _percent(record.held_out.shared),
            _percent(record.held_out.own),
            f"{record.source} ({record.date})",
        )
        for name, record in shipped_records()
    )
    return markdown(head, rows)


def tables_of(folder: Path) -> Mapping[str, Callable[[], str]]:
    """What the template may name."""
    return {
        "aims": aims_table,
        "records": records_table,
        "files": lambda: files_table(folder),
        "versions": versions,
        "uncalibrated": lambda: _either_way(UNCALIBRATED.high),
        "widenings": _widenings,
        "repeated": lambda: _either_way(REPEATED.high),
        "memory": lambda: _either_way(MEMORY.high),
    }


def aims_table() -> str:
    """Held-out figures of the quantities that an aim is set for."""
    head = ("quantity", "fit", "held out", "MAPE", "p90", "90 % band", "inside it", "aim", "reached")
    rows: list[Sequence[str]] = []
    for aim in AIMS:
        for name, record in shipped_records():
            if aim.pattern.fullmatch(name):
                rows += [_aim_row(aim, name, *found) for found in _parts(record, aim.part)]
    return markdown(head, rows)


def shipped_records() -> Iterator[tuple[str, FitRecord]]:
    """Records of every device's own fits, and of every engine."""
    for name in device_names():
        kernels = read_device(name).kernels
        lent = read_device(kernels.relative).kernels if kernels.relative else None
        for part, section in kernels:
            if isinstance(section, Value) and (lent is None or section != getattr(lent, part)):
                yield from records_of(section, f"{name}.{part}")
    for stack in map(read_training_stack, training_stack_names()):
        yield from records_of(stack, stack.name)
    for engine in map(read_generation_stack, generation_stack_names()):
        yield from records_of(engine, engine.name)


def files_table(folder: Path) -> str:
    """Scores of whole files, the rows that were fitted among them, by source."""
    head = ("kind", "file, source", "rows", "evaluated", "MAPE", "median", "p90", "worst", "bias", "inside")
    rows: list[Sequence[str]] = []
    for kind, file, device in FILES:
        if kind in KINDS:
            found = _score(kind, folder / file, device)
            rows += _score_rows(kind, file, found)
    return markdown(head, rows)


def versions() -> str:
    """What the report was made with, and when."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    return f"{date.today().isoformat()}, Python {platform.python_version()}, {packages}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _score(kind: str, path: Path, device: str | None) -> Score:
    rows = read_rows(path, columns=KINDS[kind].COLUMNS)
    try:
        evaluation = KINDS[kind].evaluate(rows, read_device(device) if device else None, lambda count: None)
    except RowError as error:
        raise mistakes_of(path, error.mistakes) from None
    return score(evaluation, rows=len(rows))


def _score_rows(kind: str, file: str, found: Score) -> Iterator[Sequence[str]]:
    if found.errors is None:
        yield (kind, file, str(found.rows), "0", *[""] * 6)
        return
    yield (kind, file, str(found.rows), str(found.evaluated), *_error_cells(found.errors))
    parts = found.by_measure if len(found.by_measure) > 1 else {}
    parts = {**parts, **(found.by_source if len(found.by_source) > 1 else {})}
    for name, errors in parts.items():
        yield ("", name, "", str(errors.evaluated), *_error_cells(errors))
    if found.regret:
        words = f"regret of {found.regret.choices} choices: {_percent(found.regret.mean)} on average"
        yield ("", f"{words}, {_percent(found.regret.worst)} at worst", *[""] * 8)


def _error_cells(errors: Errors) -> Iterator[str]:
    yield from map(_percent, (errors.mape, errors.median, errors.p90, errors.worst))
    yield f"{100 * errors.bias:+.1f} %"
    yield _percent(errors.coverage)


def _widenings() -> str:
    return ", ".join(
        f"{words} {_either_way(half_width)}"
        for words, half_width in (
            ("kernels taken from the architecture's measured relative", RELATIVE_HALF_WIDTH),
            ("a device known by its data sheet alone", FLAT_HALF_WIDTH),
            ("fp8", FP8_HALF_WIDTH),
            ("forward passes by themselves", FORWARD_HALF_WIDTH),
            ("sizes beyond those measured", BEYOND_HALF_WIDTH),
        )
    )


def _either_way(half_width: float) -> str:
    """A logarithm as the percentages that it takes down and up."""
    return f"{100 * math.expm1(-half_width):+.0f} to {100 * math.expm1(half_width):+.0f} %"


def _residual_cells(residuals: Residuals) -> Iterator[str]:
    yield f"{residuals.rows:,}"
    yield from map(_percent, (residuals.mape, residuals.p90))
    yield f"{100 * math.expm1(residuals.low):+.1f} to {100 * math.expm1(residuals.high):+.1f} %"
    yield "" if residuals.coverage is None else _percent(residuals.coverage)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
