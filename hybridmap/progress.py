"""Progress: of a run its iterations, reward, KL and seconds per phase; of a table its rows."""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

import planner
from hybridmap import screen

_WORTH_SHOWING_S = 0.005


class RunProgress:
    """Shows each finished iteration: a bar and its phases on a terminal, a line each elsewhere."""

    def __init__(self, options: argparse.Namespace, plan: planner.Plan) -> None:
        run = plan.scenario.run
        total = options.iterations or (run.iterations if run else None)
        self._console = screen.errors_console(quiet=run is not None and "console" not in run.trackers)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
        )
        self._task = self._bar.add_task(plan.scenario.name, total=total, words="starting the processes ...")
        self._phases = Text()
        shown = Group(self._bar, self._phases) if self._console.is_terminal else Group()
        self._live = Live(shown, console=self._console)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, report: Any) -> None:
        """Show one iteration's report."""
        number = report.iteration + 1
        kl = "" if report.kl is None else f"kl {report.kl:+.4f}  "
        words = f"reward {report.reward:+.3f}  {kl}{report.seconds:.2f} s"
        phases = format_phases(report.seconds_by_call)
        if self._console.is_terminal:
            self._phases.plain = phases
            self._bar.update(self._task, completed=number, words=words)
        else:
            line = f"iteration {number}: {words}: {phases}"
            self._console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def row_progress(words: str, *, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal while rows are worked through, with the time that is left; nothing elsewhere.

    What is yielded is called with the number of rows done since its last call.

    Parameters
    ----------
    done
        Rows that were done before.
    """
    console = screen.errors_console()
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


@contextmanager
def step_progress(words: str, *, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, and the step that is being taken; nothing elsewhere.

    What is yielded is called with each step's name.
    """
    console = screen.errors_console()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(words, total=total)

        def advance(step: str) -> None:
            bar.update(task, advance=1, description=step)

        yield advance


def format_phases(seconds_by_call: Mapping[str, float]) -> str:
    """Seconds of each call that takes any, the role named only where two roles have the method.

    >>> format_phases({"actor.generate/reshard": 0.1, "actor.generate": 0.5, "a.update": 1, "b.update": 2})
    'reshard 0.10  generate 0.50  a.update 1.00  b.update 2.00'
    """
    methods = Counter(_method(call) for call in seconds_by_call)
    return "  ".join(
        f"{_method(call) if methods[_method(call)] == 1 else call} {seconds:.2f}"
        for call, seconds in seconds_by_call.items()
        if seconds >= _WORTH_SHOWING_S
    )


def _method(call: str) -> str:
    return call.replace("/", ".").rsplit(".", 1)[-1]
