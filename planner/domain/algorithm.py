"""Options of each RL algorithm, as written in a scenario."""

from typing import Literal

from pydantic import Field

from planner.domain.quantities import Value


class PpoOptions(Value):
    """PPO with a learned critic (Schulman et al. 2017; InstructGPT's KL penalty in the reward)."""

    name: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    dual_clip: float | None = Field(default=None, gt=1)
    value_clip: float = Field(default=0.5, gt=0)
    kl_coefficient: float = Field(default=0.05, ge=0)
    kl_estimator: Literal["k1", "abs", "k2", "k3"] = "k1"
    aggregation: Literal["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"] = "token-mean"


AlgorithmOptions = PpoOptions
"""Union of the options of all algorithms, told apart by ``name``."""
