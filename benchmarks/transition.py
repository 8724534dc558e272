"""What a weight sync from training to generation takes, by HybridFlow's grouping and by two others."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

LAYOUTS = {"4 processes": ("p1t4d1", "2"), "8 processes": ("p2t2d2", "2")}
"""Training layout and generation tensor size; on 8 processes all three groupings move different bytes."""


_ENVIRONMENT = """
import json
from runtime.platform import process_environment
print(json.dumps(process_environment()))
"""
"""Says what worker processes must have before they import torch, which this process does without."""


def measure() -> dict[str, Any]:
    """Median seconds, bytes and peak memory by layout and grouping; each layout a world of its own."""
    ours = subprocess.run([sys.executable, "-c", _ENVIRONMENT], check=True, stdout=subprocess.PIPE)
    environment = os.environ | json.loads(ours.stdout) | {"GLOO_SOCKET_IFNAME": "lo"}
    return {name: _world(*layouts, environment) for name, layouts in LAYOUTS.items()}


def _world(train: str, tensor: str, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.transition_world", train, tensor]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))
