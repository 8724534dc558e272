"""Run the named benchmarks, or all; keep what they measured with date, commit and machine."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import costs, paper, rivals, search, simulation, startup, sweep, transition

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "startup": startup.measure,
    "search": search.measure,
    "rivals": rivals.measure,
    "paper": paper.measure,
    "costs": costs.measure,
    "simulation": simulation.measure,
    "sweep": sweep.measure,
    "transition": transition.measure,
}
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run benchmarks by name."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}\n")
        return 2
    for name in names or BENCHMARKS:
        result = {**_circumstances(), "measured": BENCHMARKS[name]()}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
        print(json.dumps(result["measured"], indent=2))
    return 0


def _circumstances() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
