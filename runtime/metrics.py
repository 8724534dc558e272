"""Numbers of each iteration, under verl's names, to ``metrics.jsonl`` and TensorBoard."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from planner.domain.timeline import Span
from runtime.watch import SubmittedCall

_TIMING_NAMES = {
    "generate": "gen",
    "values": "values",
    "logprobs": "ref",
    "scores": "reward",
    "advantages": "adv",
}


class MetricsFile:
    """Appends one line per iteration; a reader never sees half a line.

    Parameters
    ----------
    kept
        Iterations whose lines stay when an earlier run is resumed; later lines are dropped.
    """

    def __init__(self, folder: Path, *, kept: int = 0) -> None:
        self._path = folder / "metrics.jsonl"
        lines = self._path.read_text().splitlines(keepends=True)[:kept] if self._path.exists() else []
        self._path.write_text("".join(lines))
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=kept + 1 if kept else None)

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a step, counted from 1."""
        line = json.dumps({"step": step, **metrics}, sort_keys=True) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        self._board.close()


@contextmanager
def metrics_file(folder: Path, *, kept: int = 0) -> Iterator[MetricsFile]:
    """A metrics file that is closed on leaving."""
    metrics = MetricsFile(folder, kept=kept)
    try:
        yield metrics
    finally:
        metrics.close()


def iteration_metrics(
    finished: Sequence[SubmittedCall], spans: Sequence[Span], *, after_s: float = 0.0
) -> dict[str, float]:
    """What the workers reported, and where the time went.

    The reports of one call agree over its ranks, so that the first one speaks for all.

    Parameters
    ----------
    after_s
        End of the iteration before; what overlaps with that one is not counted twice.
    """
    metrics: dict[str, float] = {}
    for done in finished:
        metrics.update(done.reports[0].metrics)
    for span in spans:
        name = f"timing_s/{timing_name(span)}"
        metrics[name] = metrics.get(name, 0.0) + span.seconds
    start_s = max(after_s, min(span.start_s for span in spans))
    seconds = max(span.end_s for span in spans) - start_s
    metrics["timing_s/step"] = metrics["perf/time_per_step"] = seconds
    if "perf/total_num_tokens" in metrics:
        metrics["perf/throughput"] = metrics["perf/total_num_tokens"] / seconds
    return metrics


def timing_name(span: Span) -> str:
    """verl's word for a call, after ``timing_s/``."""
    if span.kind == "reshard":
        return "reshard"
    method = span.call.split(".")[1].split("#")[0]
    return f"update_{span.role}" if method == "update" else _TIMING_NAMES[method]
