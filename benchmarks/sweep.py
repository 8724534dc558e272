"""How long what-if tables take: a plan costed again at each point, and each point planned anew."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SCENARIO = "scenarios/paper/ppo-7b-128.yaml"
"""PPO of 7B on 128 devices, 1,024 responses in each iteration."""
WORKERS = 2
LENGTHS = range(256, 1280, 102)
BANDWIDTHS = range(100, 600, 50)
MINI_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def measure() -> dict[str, Any]:
    """Seconds of the whole program, checks, processes, files and pictures included.

    Those of the clock are also other programs' that run at the same time; those of the processors are not.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        _run("plan", SCENARIO, "--out", str(plan))
        results = {
            "given_plan": _swept(str(plan), Path(folder) / "given"),
            "given_plan_simulated": _swept(str(plan), Path(folder) / "simulated", "--simulate"),
            "best_plans": _swept(SCENARIO, Path(folder) / "best"),
        }
    return {"scenario": SCENARIO, "axes": _axes(), "workers": WORKERS, **results}


def _axes() -> dict[str, list[Any]]:
    return {
        "workload.response_tokens": list(LENGTHS)[:10],
        "cluster.node_pools.*.network.bandwidth": [f"{rate} Gbit/s" for rate in BANDWIDTHS],
        "workload.mini_batches": list(MINI_BATCHES),
    }


def _swept(subject: str, out: Path, *options: str) -> dict[str, Any]:
    settings = [f"--set={key}={','.join(map(str, values))}" for key, values in _axes().items()]
    words = ["sweep", subject, *settings, "--workers", str(WORKERS), "--out", str(out), *options]
    seconds, cpu_seconds = _run(*words)
    again_s, _ = _run(*words)
    answer = json.loads((out / "sweep.json").read_text())
    return {
        "points": answer["points"],
        "statuses": answer["statuses"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "cpu_milliseconds_per_point": round(1000 * cpu_seconds / answer["points"], 1),
        "seconds_when_all_rows_are_kept": round(again_s, 1),
    }


def _run(*words: str) -> tuple[float, float]:
    """Seconds by the clock, and of the processors, of one command and its processes."""
    start, before = time.perf_counter(), _cpu_seconds()
    subprocess.run([sys.executable, "-m", "hybridmap", *words], check=True, capture_output=True)
    return time.perf_counter() - start, _cpu_seconds() - before


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
