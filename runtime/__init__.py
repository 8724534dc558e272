"""The room that touches devices: it executes a plan, and measures what the planner wants to know.

Names are loaded when first used (PEP 562): a worker process needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.execution import IterationReport, RunResult, run
    from runtime.profiler import profile
    from runtime.requirements import DryRun, dry_run
    from runtime.run_inputs import check_inputs
    from runtime.session import KeptProcesses

_HOMES = {
    "DryRun": "runtime.requirements",
    "IterationReport": "runtime.execution",
    "KeptProcesses": "runtime.session",
    "RunResult": "runtime.execution",
    "check_inputs": "runtime.run_inputs",
    "dry_run": "runtime.requirements",
    "profile": "runtime.profiler",
    "run": "runtime.execution",
}

__all__ = [
    "DryRun",
    "IterationReport",
    "KeptProcesses",
    "RunResult",
    "check_inputs",
    "dry_run",
    "profile",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
