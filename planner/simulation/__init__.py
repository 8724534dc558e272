"""Predict: play a plan's calls on its pools, its generations event by event, and see when each runs."""

from planner.simulation.iteration import timeline_of
from planner.simulation.plans import simulate

__all__ = ["simulate", "timeline_of"]
