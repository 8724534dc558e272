"""A process of TRL: ``python -m benchmarks.trl_process ADDRESS SETTINGS``, under ``torchrun`` for several.

ADDRESS is a socket to take turns over, SETTINGS is JSON for `GrpoSettings`.
"""

import json
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from runtime.platform import enable


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoSettings:
    """What both sides of the comparison have in common, and what TRL has beside it."""

    policy: str
    """Folder of the model."""
    prompts: str
    """JSONL file in verl's columns."""
    rule: str
    """Python file of the reward function, in verl's signature."""
    samples: int
    """Of one step, over all processes."""
    samples_per_prompt: int
    response_tokens: int
    learning_rate: float
    kl_coefficient: float
    gradient_clip: float
    seed: int
    threads: int
    processes: int
    micro_batch: int | None = None
    """Samples of a process that are computed at once; by default all of them."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `GRPOConfig`."""


if __name__ == "__main__":
    enable()  # before anything imports transformers
    import_module("benchmarks.trl_training").train(sys.argv[1], GrpoSettings(**json.loads(sys.argv[2])))
