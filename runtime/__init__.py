"""The room that touches devices: it executes a plan, and measures what the planner wants to know."""

from runtime.profiler import profile
from runtime.requirements import DryRun, dry_run
from runtime.run import IterationReport, RunResult, run
from runtime.session import KeptProcesses

__all__ = ["DryRun", "IterationReport", "KeptProcesses", "RunResult", "dry_run", "profile", "run"]
