"""``python -m planner.calibration FOLDER``: fit coefficients to measured rows, write them into ``profiles``.

Exit codes: 0 done, 2 the input is wrong.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from planner.calibration.device_files import records_of, staging
from planner.calibration.fittings import FITTINGS, Fitting, fittings_named
from planner.calibration.report import write_report
from planner.calibration.rows import RowError
from planner.domain.catalog import SHIPPED
from planner.domain.fits import FitRecord
from planner.errors import SpecError

_WRONG_INPUT = 2
_HEAD = f"{'section':<52} {'rows':>6} {'held out':>8} {'MAPE':>7} {'p90':>7} {'90 % band':>18} {'inside':>7}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, or report, and return the exit code."""
    options = _parser().parse_args(arguments)
    folder = options.folder.resolve()
    try:
        chosen = fittings_named(options.only)
        check_folder(folder, chosen)
        if options.report:
            write_report(folder, options.report)
        else:
            calibrate(folder, chosen, options.profiles)
    except (SpecError, RowError) as error:
        sys.stderr.write(f"error: {error}\n")
        return _WRONG_INPUT
    return 0


def calibrate(folder: Path, chosen: Sequence[Fitting], profiles: Path) -> None:
    """Fit one after the other, each with what the earlier ones found; write all files at the end."""
    found: list[tuple[str, FitRecord]] = []
    with staging(profiles) as stage:
        for fitting in chosen:
            if fitting.keys:
                stage.forget(fitting.keys)
        for fitting in chosen:
            start = time.perf_counter()
            sys.stderr.write(f"fitting {fitting.name} ... ")
            sys.stderr.flush()
            for name, section in fitting.fit(folder).items():
                stage.put(fitting.file.format(name), fitting.keys, section)
                part = ".".join((name, *fitting.keys))
                found += [(f"{part} {at}".strip(), record) for at, record in records_of(section)]
            sys.stderr.write(f"{time.perf_counter() - start:.0f} s\n")
        places = stage.publish()
    sys.stdout.write("\n".join([_HEAD, *_lines(found)]) + "\n")
    sys.stdout.write("".join(f"wrote {place}\n" for place in places))


def check_folder(folder: Path, chosen: Sequence[Fitting]) -> None:
    """Refuse a folder that lacks a file.

    Raises
    ------
    SpecError
        Names every missing file and what needs it.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder}: no such folder; name the one that holds the measured rows")
    missing = [
        f"{folder / file}: no such file; fitting {fitting.name} needs it"
        for fitting in chosen
        for file in fitting.files
        if not (folder / file).is_file()
    ]
    if missing:
        raise SpecError("\n".join(missing))


def _lines(found: Iterable[tuple[str, FitRecord]]) -> Iterable[str]:
    for name, record in found:
        of = record.held_out
        inside = "" if of.coverage is None else f"{100 * of.coverage:.0f} %"
        yield (
            f"{name:<52} {record.rows:>6} {of.rows:>8} {100 * of.mape:>5.1f} % {100 * of.p90:>5.1f} % "
            f"{100 * math.expm1(of.low):>+6.1f} to {100 * math.expm1(of.high):>+5.1f} % {inside:>7}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m planner.calibration", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the measured rows (CSV files)")
    names = ", ".join(fitting.name for fitting in FITTINGS)
    parser.add_argument("--only", nargs="+", metavar="KIND", default=[], help=f"some of {names}")
    parser.add_argument(
        "--profiles",
        type=Path,
        metavar="FOLDER",
        default=SHIPPED / "profiles",
        help="where the coefficients are written; those shipped by default",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="fit nothing; write the table of errors (Markdown)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
