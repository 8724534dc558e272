"""Seconds of micro-batches through a model: training steps and forward passes."""
