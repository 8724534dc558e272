"""Who is told each iteration's metrics: ``metrics.jsonl``, TensorBoard, Weights & Biases, MLflow.

The console's line is the command line's.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from torch.utils.tensorboard import SummaryWriter

from planner.domain.plan import Plan
from planner.domain.text import write_text
from planner.errors import SpecError

_LOG = logging.getLogger(__name__)


class Tracker(Protocol):
    """Keeps the metrics of a run."""

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics of a step, counted from 1."""

    def close(self, *, failed: bool) -> None:
        """Write what is not written yet, and how the run ended."""


class MetricsFile:
    """Appends one line per step to ``metrics.jsonl``; a reader never sees half a line.

    Parameters
    ----------
    kept
        Steps whose lines stay when an earlier run is resumed; later lines are dropped.
    """

    def __init__(self, folder: Path, *, kept: int = 0) -> None:
        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text().splitlines(keepends=True)[:kept] if self._path.exists() else []
        write_text(self._path, "".join(lines))

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        line = json.dumps({"step": step, **metrics}, sort_keys=True) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        finally:
            os.close(descriptor)

    def close(self, *, failed: bool) -> None:
        """Nothing is left to write."""


class TensorBoard:
    """Writes events to ``tensorboard/``; earlier ones after the steps that are kept are hidden."""

    def __init__(self, folder: Path, *, kept: int = 0) -> None:
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=kept + 1)

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self, *, failed: bool) -> None:
        self._board.close()


class WeightsAndBiases:
    """Logs to a W&B run of the scenario's name; ``WANDB_MODE=offline`` keeps it on this machine."""

    def __init__(self, plan: Plan, folder: Path, *, kept: int = 0) -> None:
        self._run = import_module("wandb").init(
            project=plan.scenario.run_settings.project,
            name=plan.scenario.name,
            config=_config(plan),
            dir=str(folder),
            id=_earlier_run(folder, "wandb") if kept else None,
            resume="allow",
        )
        _remember_run(folder, "wandb", self._run.id)

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class Mlflow:
    """Logs to an MLflow run of the scenario's name, wherever ``MLFLOW_TRACKING_URI`` says.

    Characters of a metric's name that MLflow does not take become ``_``.
    """

    def __init__(self, plan: Plan, folder: Path, *, kept: int = 0) -> None:
        self._mlflow = import_module("mlflow")
        self._mlflow.set_experiment(plan.scenario.run_settings.project)
        earlier = _earlier_run(folder, "mlflow") if kept else None
        run = self._mlflow.start_run(run_id=earlier, run_name=plan.scenario.name)
        _remember_run(folder, "mlflow", run.info.run_id)
        self._mlflow.log_dict(_config(plan), "scenario.json")

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        named = {re.sub(r"[^/\w.\- ]", "_", name): value for name, value in metrics.items()}
        self._mlflow.log_metrics(named, step=step)

    def close(self, *, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


class Forgiven:
    """A tracker of another package: where it fails the run goes on, and that is said once."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker = name, tracker
        self._has_failed = False

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        with self._forgiving(f"was not told of step {step}"):
            self._tracker.append(step, metrics)

    def close(self, *, failed: bool) -> None:
        with self._forgiving("was not closed"):
            self._tracker.close(failed=failed)

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._has_failed:
                _LOG.warning(
                    "run.trackers: %s %s: %s; the run goes on, and this is said once",
                    *(self._name, what, _said(error)),
                )
            self._has_failed = True


class Trackers:
    """Several trackers that are told the same."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.append(step, metrics)


@contextmanager
def trackers_of(plan: Plan, folder: Path, *, kept: int = 0) -> Iterator[Trackers]:
    """The trackers that a run asks for, closed on leaving.

    Parameters
    ----------
    kept
        Steps that stay when an earlier run is resumed.

    Raises
    ------
    SpecError
        When a tracker of another package can't be opened; the metrics that are there are as they were.
    """
    wanted = [name for name in _OPEN if name in plan.scenario.run_settings.trackers]
    with ExitStack() as stack:
        yield Trackers([stack.enter_context(_closed(_opened(name, plan, folder, kept))) for name in wanted])


_OPEN: Mapping[str, Callable[[Plan, Path, int], Tracker]] = {
    "wandb": lambda plan, folder, kept: WeightsAndBiases(plan, folder, kept=kept),
    "mlflow": lambda plan, folder, kept: Mlflow(plan, folder, kept=kept),
    "tensorboard": lambda plan, folder, kept: TensorBoard(folder, kept=kept),
    "jsonl": lambda plan, folder, kept: MetricsFile(folder, kept=kept),
}
"""In this order, so that nothing is dropped from our own file when another can't be opened."""
_ADVICE = {
    "wandb": "run `wandb login`, or set WANDB_MODE=offline to keep it on this machine",
    "mlflow": "set MLFLOW_TRACKING_URI to a server that answers",
    "tensorboard": "see what lies in tensorboard/ there",
}
"""Trackers of other packages, and what may help where they can't be opened."""


def _opened(name: str, plan: Plan, folder: Path, kept: int) -> Tracker:
    if name not in _ADVICE:
        return _OPEN[name](plan, folder, kept)
    try:
        return Forgiven(name, _OPEN[name](plan, folder, kept))
    except Exception as error:
        raise SpecError(
            f"{plan.scenario.name}: run.trackers: {name} cannot be opened: {_said(error)}; "
            f"{_ADVICE[name]}, or leave it out"
        ) from error


@contextmanager
def _closed(tracker: Tracker) -> Iterator[Tracker]:
    """The tracker, closed on leaving and told whether that was a failure."""
    failed = True
    try:
        yield tracker
        failed = False
    finally:
        tracker.close(failed=failed)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _config(plan: Plan) -> dict[str, Any]:
    return plan.scenario.model_dump(mode="json")


def _earlier_run(folder: Path, tracker: str) -> str | None:
    """What the tracker called the run that was begun in this folder."""
    path = folder / f"{tracker}-run.txt"
    return path.read_text().strip() if path.is_file() else None


def _remember_run(folder: Path, tracker: str, name: str) -> None:
    write_text(folder / f"{tracker}-run.txt", f"{name}\n")
