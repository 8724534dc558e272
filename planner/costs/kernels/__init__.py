"""Seconds of single kernels on a device: matrices, attention, streams."""
