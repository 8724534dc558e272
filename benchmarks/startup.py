"""How long the program takes before it does anything."""

import statistics
import subprocess
import sys
import time
from typing import Any

COMMANDS = {
    "python": ["-c", "pass"],
    "import planner": ["-c", "import planner"],
    "hybridmap plan --help": ["-m", "hybridmap", "plan", "--help"],
    "hybridmap plan ppo-7b-8": ["-m", "hybridmap", "plan", "scenarios/paper/ppo-7b-8.yaml"],
}
REPEATS = 7


def measure() -> dict[str, Any]:
    """Median seconds of each command, a whole process each."""
    return {name: {"seconds": _median_seconds(command)} for name, command in COMMANDS.items()}


def _median_seconds(command: list[str]) -> float:
    return round(statistics.median(_seconds(command) for _ in range(REPEATS)), 3)


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - start
