"""Run the named benchmarks, or all; keep what they measured with date, commit and machine."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

BENCHMARKS = (
    "startup",
    "search",
    "rivals",
    "paper",
    "costs",
    "simulation",
    "sweep",
    "controller",
    "overlap",
    "leaks",
    "transition",
)
"""Each a module with a function `measure`, loaded when its turn comes, for some need the runtime."""
ASKED_FOR = ("trl",)
"""Only when named: they need what ``make bench-trl`` installs."""
RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Run benchmarks by name."""
    known = (*BENCHMARKS, *ASKED_FOR)
    unknown = set(names) - set(known)
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; known: {', '.join(known)}\n")
        return 2
    for name in names or BENCHMARKS:
        result = {**_circumstances(), "measured": import_module(f"benchmarks.{name}").measure()}
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
