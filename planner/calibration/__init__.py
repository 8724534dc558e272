"""Fit and score: coefficients from measured rows, and how well the costs predict other rows."""
