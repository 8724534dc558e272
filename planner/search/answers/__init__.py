"""From a solver's answer, or a choice made by hand, to a plan with its forecast."""
