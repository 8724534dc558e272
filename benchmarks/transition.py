"""What a weight sync from training to generation takes, by HybridFlow's grouping and by two others."""

import json
import os
import subprocess
import sys
from typing import Any

LAYOUTS = {"4 processes": ("p1t4d1", "2"), "8 processes": ("p2t2d2", "2")}
"""Training layout and generation tensor size; on 8 processes all three groupings move different bytes."""


def measure() -> dict[str, Any]:
    """Median seconds, bytes and peak memory by layout and grouping; each layout a world of its own."""
    return {name: _world(train, tensor) for name, (train, tensor) in LAYOUTS.items()}


def _world(train: str, tensor: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.transition_world", train, tensor]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))
