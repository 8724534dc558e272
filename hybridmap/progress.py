"""The progress bar of a run: iterations, reward, KL, seconds per phase."""

import argparse
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import planner
from hybridmap import screen


class RunProgress:
    """Shows each finished iteration: a bar on a terminal, a line each elsewhere."""

    def __init__(self, options: argparse.Namespace, plan: planner.Plan) -> None:
        run = plan.scenario.run
        total = options.iterations or (run.iterations if run else None)
        self._console = screen.errors_console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(plan.scenario.name, total=total, words="starting the processes ...")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, report: Any) -> None:
        """Show one iteration's report."""
        seconds = "  ".join(f"{call} {value:.2f}" for call, value in report.seconds_by_call.items())
        words = f"reward {report.reward:+.3f}  kl {report.kl:.4f}  {report.seconds:.2f} s: {seconds}"
        self._bar.update(self._task, completed=report.iteration + 1, words=words)
        if not self._console.is_terminal:
            self._console.print(f"iteration {report.iteration + 1}: {words}", highlight=False, soft_wrap=True)
