"""The default solver: a CP-SAT model of the problem, and the searches that it is asked in."""
