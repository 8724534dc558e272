"""Seconds of generation, step by step of a serving engine."""
