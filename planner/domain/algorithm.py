"""Options of each RL algorithm, as written in a scenario; `docs/algorithms.md` lists them with sources."""

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from planner.domain.quantities import PositiveInt, Value

KlEstimator = Literal["k1", "abs", "k2", "k3", "k1+", "k2+", "k3+", "abs+"]
"""Of the divergence from the reference: d = log p - log p_ref, its absolute, d^2 / 2, exp(-d) - 1 + d. With a
plus sign, the value of one of them and the gradient of k2, where it is part of a loss."""
Aggregation = Literal[
    "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm", "seq-mean-token-mean"
]
"""How the tokens' losses become one number."""
Divergence = Literal[
    "token_k1",
    "token_k2",
    "token_k3",
    "seq_sum_k1",
    "seq_sum_k2",
    "seq_sum_k3",
    "seq_mean_k1",
    "seq_mean_k2",
    "seq_mean_k3",
    "seq_max_k2",
    "seq_max_k3",
]
"""Of the engine that generated from the one that trains: of a token, or over those of a response."""


class Rejection(Value):
    """Tokens or responses that weigh nothing in the policy's surrogate: the two engines diverge too much."""

    measure: Divergence
    upper: float = Field(gt=0)
    """Greatest divergence; of a k1, the greatest ratio of the probabilities, generating over training."""
    lower: float | None = Field(default=None, gt=0)
    """Smallest ratio of a k1; 1 / upper by default."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.lower is None:
            if self.measure.endswith("k1") and self.upper < 1:
                raise ValueError(f"upper ({self.upper:g}) is a ratio below 1; give lower as well")
            return self
        if not self.measure.endswith("k1"):
            raise ValueError(f"lower: {self.measure} is never negative; drop lower, or measure a k1")
        if self.lower > self.upper:
            raise ValueError(f"lower ({self.lower:g}) exceeds upper ({self.upper:g})")
        return self


class Correction(Value):
    """Weights for what the generating engine computes otherwise than the training one.

    The weight is the ratio of the probabilities, training over generating, of a token or of a whole response.
    """

    level: Literal["token", "sequence"] = "token"
    kind: Literal["truncate", "mask"] = "truncate"
    """Greater weights become ``upper`` (truncated importance sampling); or weights outside ``lower`` to
    ``upper`` become 0 (IcePop)."""
    lower: float | None = Field(default=None, gt=0)
    """Smallest weight that is not masked; 0.5 by default."""
    upper: float | None = Field(default=None, gt=0)
    """Greatest weight; 2 by default, 5 where weights are masked."""
    normalise: bool = False
    """Whether the weights are divided by their mean over the iteration's tokens, or responses."""
    reject: tuple[Rejection, ...] = ()
    """What must all hold of a token that has a weight."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.kind == "truncate" and self.lower is not None:
            raise ValueError("lower: small weights are not truncated; drop lower, or choose kind: mask")
        if self.bounds[0] >= self.bounds[1]:
            low, high = self.bounds
            raise ValueError(f"lower ({low:g}) leaves no weight below upper ({high:g}); spread them")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and greatest weight.

        >>> Correction().bounds, Correction(kind="mask").bounds, Correction(kind="mask", lower=0.9).bounds
        ((0.0, 2.0), (0.5, 5.0), (0.9, 5.0))
        """
        if self.kind == "truncate":
            return 0.0, self.upper or 2.0
        return self.lower or 0.5, self.upper or 5.0


class Options(Value):
    """What the policy's loss of every algorithm has."""

    clip: float = Field(default=0.2, gt=0)
    """How far the ratio of new to old probability may leave 1 before it stops to count."""
    clip_low: float | None = Field(default=None, gt=0, lt=1)
    """How far below 1, where it is not ``clip``."""
    clip_high: float | None = Field(default=None, gt=0)
    """How far above 1, where it is not ``clip``."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Greatest ratio that counts where the advantage is negative (1912.09729)."""
    aggregation: Aggregation = "token-mean"
    kl_coefficient: float = Field(default=0.0, ge=0)
    """Of the divergence from the reference, as a penalty in the reward."""
    kl_target: float | None = Field(default=None, gt=0)
    """Divergence that the penalty's coefficient is steered to, in nats per token; None for a fixed one."""
    kl_horizon: PositiveInt = 10_000
    """Responses over which a steered coefficient may change by about a fifth."""
    kl_loss_coefficient: float = Field(default=0.0, ge=0)
    """Of the divergence from the reference, as a term of the loss."""
    kl_estimator: KlEstimator = "k1"
    correction: Correction | None = None
    """For the difference between the engines; with it, the actor computes the old probabilities itself."""

    @model_validator(mode="after")
    def _check_clip(self) -> Self:
        if self.clip_bounds[0] >= 1:
            raise ValueError(
                f"clip ({self.clip:g}) leaves no lower bound, since a ratio never falls by 1; give clip_low "
                "below 1 as well, or clip below 1"
            )
        return self

    @model_validator(mode="after")
    def _check_divergence(self) -> Self:
        if self.kl_coefficient and self.kl_loss_coefficient:
            raise ValueError(
                f"kl_coefficient ({self.kl_coefficient:g}, in the reward) and kl_loss_coefficient "
                f"({self.kl_loss_coefficient:g}, in the loss) charge the divergence twice; set one to 0"
            )
        if self.kl_coefficient and self.kl_estimator.endswith("+"):
            plain = self.kl_estimator.removesuffix("+")
            raise ValueError(
                f"kl_estimator: a reward has no gradient, so {self.kl_estimator} is {plain} there; write "
                f"{plain}, or set kl_coefficient to 0 and give kl_loss_coefficient"
            )
        if self.kl_loss_coefficient and self.kl_estimator == "k1":
            raise ValueError(
                "kl_estimator: the gradient of k1 does not depend on the reference, so that in the loss it "
                "holds nothing; write k3, k2, or k1+ (the value of k1, the gradient of k2)"
            )
        if self.kl_target is not None and not self.kl_coefficient:
            raise ValueError(
                "kl_target: steers the penalty in the reward, which is 0; give kl_coefficient to start from"
            )
        if self.kl_target is None and self.kl_horizon != Options.model_fields["kl_horizon"].default:
            raise ValueError("kl_horizon: the penalty is not steered; give kl_target as well, or drop it")
        return self

    @property
    def clip_bounds(self) -> tuple[float, float]:
        """How far the ratio may fall below 1 and rise above it."""
        low, high = self.clip_low, self.clip_high
        return self.clip if low is None else low, self.clip if high is None else high

    @property
    def has_divergence(self) -> bool:
        """Whether the reference policy plays a part."""
        return self.kl_coefficient > 0 or self.kl_loss_coefficient > 0

    @property
    def least_group(self) -> int:
        """Samples per prompt below which the algorithm has nothing to compare."""
        return 1


class GroupOptions(Options):
    """What algorithms have that compare the samples of one prompt."""

    @property
    def least_group(self) -> int:
        return 2


class PpoOptions(Options):
    """PPO with a learned critic (Schulman et al. 2017; InstructGPT's KL penalty in the reward)."""

    name: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    value_lam: float | None = Field(default=None, ge=0, le=1)
    """Lambda of the critic's returns, where it is not ``lam`` (VAPO 2504.05118, section 4.1, has 1)."""
    length_adaptive: float | None = Field(default=None, gt=0)
    """The actor's lambda of a response of l tokens is then 1 - 1 / (this * l), at least 0 (VAPO has 0.05)."""
    whiten: bool = True
    """Whether advantages have mean 0 and variance 1 over the iteration."""
    value_clip: float = Field(default=0.5, gt=0)
    kl_coefficient: float = Field(default=0.05, ge=0)


class RemaxOptions(Options):
    """ReMax (Li et al. 2310.10505); the KL penalty is in the samples' rewards, not in the baseline."""

    name: Literal["remax"] = "remax"
    kl_coefficient: float = Field(default=0.05, ge=0)


class SafeRlhfOptions(Options):
    """Safe-RLHF (Dai et al. 2310.12773): PPO under a constraint on the mean cost of a response."""

    name: Literal["safe_rlhf"] = "safe_rlhf"
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=0.95, ge=0, le=1)
    value_clip: float = Field(default=5.0, gt=0)
    kl_coefficient: float = Field(default=0.01, ge=0)
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

    @model_validator(mode="after")
    def _check_multiplier(self) -> Self:
        if self.multiplier > self.multiplier_maximum:
            raise ValueError(
                f"multiplier ({self.multiplier:g}) exceeds multiplier_maximum ({self.multiplier_maximum:g}); "
                "start lower, or raise the maximum"
            )
        return self


class GrpoOptions(GroupOptions):
    """GRPO (Shao et al. 2402.03300)."""

    name: Literal["grpo"] = "grpo"
    divide_by_deviation: bool = True
    kl_loss_coefficient: float = Field(default=0.001, ge=0)
    kl_estimator: KlEstimator = "k3"
    aggregation: Aggregation = "seq-mean-token-mean"


class DrGrpoOptions(GroupOptions):
    """Dr. GRPO (Liu et al. 2503.20783): GRPO without its biases by deviation and length, and without KL."""

    name: Literal["dr_grpo"] = "dr_grpo"
    kl_estimator: KlEstimator = "k3"
    aggregation: Aggregation = "seq-mean-token-sum-norm"


class RlooOptions(GroupOptions):
    """RLOO (Ahmadian et al. 2402.14740); the KL penalty is in the reward."""

    name: Literal["rloo"] = "rloo"
    kl_coefficient: float = Field(default=0.05, ge=0)


class ReinforcePlusPlusOptions(Options):
    """REINFORCE++ (Hu 2501.03262): rewards to come, whitened over the iteration; KL in the reward."""

    name: Literal["reinforce_plus_plus"] = "reinforce_plus_plus"
    gamma: float = Field(default=1.0, gt=0, le=1)
    group_baseline: bool = False
    """Whether a score counts relative to the mean of its prompt's samples (REINFORCE++-baseline)."""
    kl_coefficient: float = Field(default=0.01, ge=0)

    @model_validator(mode="after")
    def _check_discount(self) -> Self:
        if self.group_baseline and self.gamma != 1:
            raise ValueError(
                f"gamma ({self.gamma:g}): with group_baseline, all tokens of a response have its whole "
                "reward; drop one of the two"
            )
        return self

    @property
    def least_group(self) -> int:
        return 2 if self.group_baseline else 1


class DapoOptions(GroupOptions):
    """DAPO (Yu et al. 2503.14476); how many samples it drops is the workload's ``resampling``."""

    name: Literal["dapo"] = "dapo"
    clip_high: float | None = Field(default=0.28, gt=0)
    kl_estimator: KlEstimator = "k3"
    overlong_buffer: int = Field(default=0, ge=0, strict=True)
    """Last tokens of the longest response in which its reward falls; 0 for no such penalty."""
    overlong_penalty: float = Field(default=1.0, ge=0)
    """What a response of the greatest length loses."""
    maximum_rounds: PositiveInt = 10
    """Of generation in one iteration, in search of prompts whose samples differ in score."""

    @model_validator(mode="after")
    def _check_penalty(self) -> Self:
        if self.overlong_penalty != 1 and not self.overlong_buffer:
            raise ValueError(
                f"overlong_penalty ({self.overlong_penalty:g}): is charged in the last overlong_buffer "
                "tokens, which are 0; give overlong_buffer as well, or drop it"
            )
        return self


class GspoOptions(GroupOptions):
    """GSPO (Zheng et al. 2507.18071): one ratio for a whole response, the geometric mean of its tokens'."""

    name: Literal["gspo"] = "gspo"
    clip: float = Field(default=3e-4, gt=0)
    clip_high: float | None = Field(default=4e-4, gt=0)
    kl_estimator: KlEstimator = "k3"
    aggregation: Literal["seq-mean-token-mean"] = "seq-mean-token-mean"


AlgorithmOptions = Annotated[
    PpoOptions
    | RemaxOptions
    | SafeRlhfOptions
    | GrpoOptions
    | DrGrpoOptions
    | RlooOptions
    | ReinforcePlusPlusOptions
    | DapoOptions
    | GspoOptions,
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
