"""Predict: play a plan's calls on its pools and see when each runs."""

from planner.simulation.iteration import simulate

__all__ = ["simulate"]
