"""How much: seconds of calls and bytes of roles, from data sheets, fitted kernels and engines, profiles."""

from planner.costs.cost_model import CostModel
from planner.costs.iteration import stage_cost, tokens_per_second

__all__ = ["CostModel", "stage_cost", "tokens_per_second"]
