"""Seconds and bytes of weights on their way from training to generation."""
