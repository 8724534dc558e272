"""Bytes on each device: states, activations, caches."""
