"""The least period of a fixed plan, and the orders of calls that have it."""
