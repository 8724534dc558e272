"""Generation event by event: lengths drawn, prompts shared out, engines stepped, and what that says."""

from planner.simulation.generation.report import generate, report

__all__ = ["generate", "report"]
