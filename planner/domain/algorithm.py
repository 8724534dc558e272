"""Options of each RL algorithm, as written in a scenario."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from planner.domain.quantities import PositiveInt, Value

KlEstimator = Literal["k1", "abs", "k2", "k3"]
"""Of the divergence from the reference: d = log p - log p_ref, its absolute, d^2 / 2, exp(-d) - 1 + d."""
Aggregation = Literal["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"]
"""How the tokens' losses become one number."""


class Options(Value):
    """What the policy's loss of every algorithm has."""

    least_group: ClassVar[int] = 1
    """Samples per prompt below which the algorithm has nothing to compare."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Greatest ratio that counts where the advantage is negative (1912.09729)."""
    aggregation: Aggregation = "token-mean"


class PpoOptions(Options):
    """PPO with a learned critic (Schulman et al. 2017; InstructGPT's KL penalty in the reward)."""

    name: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    value_clip: float = Field(default=0.5, gt=0)
    kl_coefficient: float = Field(default=0.05, ge=0)
    kl_estimator: KlEstimator = "k1"


class RemaxOptions(Options):
    """ReMax (Li et al. 2310.10505); the KL penalty is in the samples' rewards, not in the baseline."""

    name: Literal["remax"] = "remax"
    clip: float = Field(default=0.2, gt=0)
    kl_coefficient: float = Field(default=0.05, ge=0)
    kl_estimator: KlEstimator = "k1"


class SafeRlhfOptions(Options):
    """Safe-RLHF (Dai et al. 2310.12773): PPO under a constraint on the mean cost of a response."""

    name: Literal["safe_rlhf"] = "safe_rlhf"
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    value_clip: float = Field(default=5.0, gt=0)
    kl_coefficient: float = Field(default=0.01, ge=0)
    kl_estimator: KlEstimator = "k1"
    aggregation: Aggregation = "seq-mean-token-mean"
    score_clip: float = Field(default=50.0, gt=0)
    """Greatest reward and cost of a token, KL penalty included."""
    cost_threshold: float = 0.0
    """Mean cost that is tolerated."""
    cost_window: PositiveInt = 128
    """Latest responses whose costs the mean is of."""
    multiplier: float = Field(default=1.0, gt=0)
    """Lagrange multiplier of the cost at the start."""
    multiplier_maximum: float = Field(default=5.0, gt=0)
    multiplier_learning_rate: float = Field(default=0.1, ge=0)
    multiplier_delay: int = Field(default=0, ge=0, strict=True)
    """Iterations before it moves."""
    pretraining_coefficient: float = Field(default=16.0, ge=0)
    """Weight of the loss on pretraining data."""


class GrpoOptions(Options):
    """GRPO (Shao et al. 2402.03300); without ``divide_by_deviation`` Dr. GRPO's advantages (2503.20783)."""

    least_group: ClassVar[int] = 2
    name: Literal["grpo"] = "grpo"
    clip: float = Field(default=0.2, gt=0)
    divide_by_deviation: bool = True
    kl_loss_coefficient: float = Field(default=0.001, ge=0)
    kl_estimator: KlEstimator = "k3"
    aggregation: Aggregation = "seq-mean-token-mean"


class RlooOptions(Options):
    """RLOO (Ahmadian et al. 2402.14740); the KL penalty is in the reward."""

    least_group: ClassVar[int] = 2
    name: Literal["rloo"] = "rloo"
    clip: float = Field(default=0.2, gt=0)
    kl_coefficient: float = Field(default=0.05, ge=0)
    kl_estimator: KlEstimator = "k1"


class DapoOptions(Options):
    """DAPO (Yu et al. 2503.14476); how many samples it drops is the workload's ``resampling``."""

    least_group: ClassVar[int] = 2
    name: Literal["dapo"] = "dapo"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    overlong_buffer: int = Field(default=0, ge=0, strict=True)
    """Last tokens of the longest response in which its reward falls; 0 for no such penalty."""
    overlong_penalty: float = Field(default=1.0, ge=0)
    """What a response of the greatest length loses."""


AlgorithmOptions = Annotated[
    PpoOptions | RemaxOptions | SafeRlhfOptions | GrpoOptions | RlooOptions | DapoOptions,
    Field(discriminator="name"),
]
"""Options of all algorithms, told apart by ``name``."""

_OPTIONS: TypeAdapter[AlgorithmOptions] = TypeAdapter(AlgorithmOptions)


def least_group(algorithm: str) -> int:
    """Samples per prompt that an algorithm needs at least.

    >>> least_group("ppo"), least_group("grpo")
    (1, 2)
    """
    return _OPTIONS.validate_python({"name": algorithm}).least_group
