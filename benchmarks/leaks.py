"""Does memory grow? Some hundred iterations, with the memory of every process after each.

Resident memory that a process shares with others, above all the pages of Ray's object store, is counted
apart: the store puts new objects at ever other places, and each page that was touched once stays.
"""

import math
import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import ray
from ray._private.internal_api import node_stats
from ray._private.worker import global_worker

import runtime
from benchmarks.quickstart import quickstart, resharding_pins
from planner import plan as best_plan

WINDOWS = ((50, 200), (100, 400))
"""Iterations that a line is drawn through. In the second, which is longer and begins later, what only fills
up has come to rest and what goes up and down counts less."""
ITERATIONS = WINDOWS[-1][1]
STORE_EVERY = 25
"""Iterations between looks at the object store: each costs Ray's raylet memory that it keeps."""
GREATEST_GROWTH = 0.01
"""Over a window, as a share of the memory at its start: less is called flat."""
WORKLOAD: dict[str, Any] = {
    "prompts": 16,
    "prompt_tokens": {"mean": 17, "maximum": 32},
    "response_tokens": {"mean": 8, "maximum": 8},
    "mini_batches": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A straight line through the memory of some iterations."""

    bytes: float
    """Where the line starts."""
    grown: float
    """From its start to its end, as a share of its start."""
    grown_at_most: float
    """The same with a slope that is two standard errors steeper."""


def measure() -> dict[str, Any]:
    """Growth of each process that lives through the run, and of the object store."""
    samples = Samples()
    plan = best_plan(quickstart("leaks", workload=WORKLOAD, pin=resharding_pins(micro_batch=8))).plan
    with tempfile.TemporaryDirectory() as folder:
        runtime.run(plan, out=Path(folder) / "run", iterations=ITERATIONS, progress=samples.take)
    return {
        "processes": {name: shown(values) for name, values in sorted(samples.lasting.items())},
        "object_store": {
            name: spread(values[WINDOWS[0][0] // STORE_EVERY :]) for name, values in samples.store.items()
        },
        "iteration_seconds": {
            "before": round(median(samples.seconds[WINDOWS[0][0] :][:25]), 4),
            "after": round(median(samples.seconds[-25:]), 4),
        },
    }


class Samples:
    """Memory by process, one number each iteration; in arrays, for they lie in one of the processes."""

    def __init__(self) -> None:
        self._memory: dict[tuple[int, str, str], array[int]] = defaultdict(lambda: array("q"))
        self.store: dict[str, list[int]] = defaultdict(list)
        self.seconds = array("d")

    def take(self, report: runtime.IterationReport) -> None:
        """Look at this process, all that it started, and the object store."""
        self.seconds.append(report.seconds)
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            try:
                memory, name = process.memory_info(), label(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            self._memory[process.pid, name, "private"].append(memory.rss - memory.shared)
            self._memory[process.pid, name, "shared"].append(memory.shared)
        if len(self.seconds) % STORE_EVERY == 0:
            for name, value in store_usage().items():
                self.store[name].append(value)

    @property
    def lasting(self) -> Mapping[str, Sequence[int]]:
        """Of the processes that were there all the time, numbered where several run the same."""
        numbers: Counter[tuple[str, str]] = Counter()
        lasting = {}
        for (_, name, kind), values in sorted(self._memory.items()):
            if len(values) == len(self.seconds):
                numbers[name, kind] += 1
                lasting[f"{name} {numbers[name, kind]}, {kind}"] = values
        return lasting


def store_usage() -> dict[str, int]:
    """Bytes and objects in the object store of this node, and references that this process holds."""
    node = ray.nodes()[0]
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
    return {
        "bytes": stats.store_stats.object_store_bytes_used,
        "objects": stats.store_stats.num_local_objects,
        "references": len(global_worker.core_worker.get_all_reference_counts()),
    }


def label(command: Sequence[str]) -> str:
    """What a process is.

    >>> label(["/ray/core/src/ray/raylet/raylet", "--x"]), label(["ray::Host.call"])
    ('raylet', 'ray::Host')
    >>> label(["/usr/bin/python", "-u", "/ray/dashboard/agent.py"])
    'agent.py'
    """
    if not command:
        return "ended"
    first = Path(command[0]).name
    if first.startswith("python") and "-c" not in command:
        first = next((Path(word).name for word in command[1:] if not word.startswith("-")), first)
    return first.split(".")[0] if first.startswith("ray::") else first


def growth(values: Sequence[float]) -> Growth:
    """The line of least squares.

    >>> round(growth([100.0, 101.0, 102.0]).grown, 6)
    0.02
    """
    steps = np.arange(len(values)) - (len(values) - 1) / 2
    memory = np.asarray(values, dtype=float)
    slope = steps @ memory / (steps @ steps)
    rest = memory - memory.mean() - slope * steps
    error = math.sqrt(rest @ rest / (len(values) - 2) / (steps @ steps))
    start, span = memory.mean() + slope * steps[0], len(values) - 1
    return Growth(
        bytes=float(start),
        grown=float(slope * span / start),
        grown_at_most=float((slope + 2 * error) * span / start),
    )


def shown(values: Sequence[int]) -> dict[str, Any]:
    """A process's memory in MiB, and its growth over each window as a share of that."""
    lines = {window: growth(values[slice(*window)]) for window in WINDOWS}
    return {
        "mebibytes": round(lines[WINDOWS[0]].bytes / 2**20, 1),
        **{f"iterations {start} to {stop}": _shares(line) for (start, stop), line in lines.items()},
    }


def _shares(line: Growth) -> dict[str, float | bool]:
    return {
        "grown": round(line.grown, 5),
        "grown_at_most": round(line.grown_at_most, 5),
        "is_flat": line.grown_at_most < GREATEST_GROWTH,
    }


def spread(values: Sequence[int]) -> dict[str, int]:
    """Least, median and greatest."""
    return {"least": min(values), "median": int(median(values)), "greatest": max(values)}
