"""Rewards of tokens, advantages, and the coefficients that steer a penalty.

Pure functions of fp32 tensors. Shapes are suffixes: ``b`` sequences, ``t`` response positions. A mask is 1
(or True) where a response token counts; what stands at a masked position never matters, and results are 0
there. Groups are numbers, the same for all samples of one prompt; they need neither follow each other nor be
of one size.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

_EPSILON = 1e-8
_DEVIATION_EPSILON = 1e-6
_LARGEST_KL_ERROR = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveKL:
    """The coefficient of a KL penalty that steers the divergence towards a target.

    Ziegler et al., "Fine-Tuning Language Models from Human Preferences" (2019), section 2.2.

    Parameters
    ----------
    target
        The divergence to hold, in nats per token, as `mean_kl` measures it.
    horizon
        Over how many sequences the coefficient may change by about 20 %.
    """

    coefficient: float
    target: float
    horizon: int


def adapt(controller: AdaptiveKL, *, kl: float, sequences: int) -> AdaptiveKL:
    """Move the coefficient after `sequences` of mean divergence `kl`: up if that is above the target.

    >>> controller = adapt(AdaptiveKL(coefficient=1.0, target=6.0, horizon=100), kl=9.0, sequences=50)
    >>> controller.coefficient
    1.1
    """
    error = min(max(kl / controller.target - 1, -_LARGEST_KL_ERROR), _LARGEST_KL_ERROR)
    return replace(
        controller, coefficient=controller.coefficient * (1 + error * sequences / controller.horizon)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiplier:
    """The Lagrange multiplier of a cost, which holds the mean cost below a threshold.

    Dai et al., "Safe RLHF" (2023), as the authors' trainer (``ppo_lag``) has it: the logarithm is what moves,
    so that the multiplier stays positive.

    Parameters
    ----------
    log_value
        Its natural logarithm.
    threshold
        The mean cost of a response that is tolerated.
    maximum
        The greatest multiplier.
    """

    log_value: float
    threshold: float
    learning_rate: float
    maximum: float

    @property
    def value(self) -> float:
        return math.exp(self.log_value)


def step(multiplier: Multiplier, *, mean_cost: float) -> Multiplier:
    """Move the multiplier, by one step of gradient ascent on its logarithm: up if the cost is too high.

    >>> start = Multiplier(log_value=0.0, threshold=0.0, learning_rate=0.1, maximum=5.0)
    >>> round(step(start, mean_cost=2.0).value, 4)
    1.2214
    """
    moved = multiplier.learning_rate * (mean_cost - multiplier.threshold) * multiplier.value
    return replace(multiplier, log_value=min(multiplier.log_value + moved, math.log(multiplier.maximum)))


def mean_kl(kl_bt: Tensor, mask_bt: Tensor) -> float:
    """Mean over sequences of the mean over tokens, which is what verl hands to its controller."""
    counted_bt = mask_bt.bool()
    tokens_b = counted_bt.sum(dim=1)
    means_b = torch.where(counted_bt, kl_bt, 0.0).sum(dim=1) / tokens_b.clamp(min=1)
    return (means_b.sum() / (tokens_b > 0).sum().clamp(min=1)).item()


def token_rewards(scores_b: Tensor, kl_bt: Tensor, mask_bt: Tensor, *, coefficient: float) -> Tensor:
    """Put the score of each response on its last token, and charge every token for its divergence.

    InstructGPT (2022), equation 2, per token, as verl's ``apply_kl_penalty``.

    Parameters
    ----------
    scores_b
        One score per response; that of a sequence without a counted token is lost.
    kl_bt
        Estimate of KL(policy, reference) per token, from `runtime.losses.kl_estimate`.
    """
    counted_bt = mask_bt.bool()
    tokens_left_bt = counted_bt.flip(1).cumsum(dim=1).flip(1)
    is_last_bt = counted_bt & (tokens_left_bt == 1)
    rewards_bt = torch.where(is_last_bt, scores_b[:, None], 0.0) - coefficient * kl_bt
    return torch.where(counted_bt, rewards_bt, 0.0)


def gae(
    rewards_bt: Tensor, values_bt: Tensor, mask_bt: Tensor, *, gamma: float, lam: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation: advantages and returns.

    Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation" (2015),
    equation 16; a response ends with value 0. A masked position is skipped: the recursion carries the value
    and the advantage of the next counted token over it, as verl's ``compute_gae_advantage_return``. Nothing
    is whitened here.

    Parameters
    ----------
    gamma, lam
        Discounts of the reward and of the estimator's later terms; the latter may be one per sequence, as
        `length_adaptive_lambda` gives it.
    """
    counted_bt = mask_bt.bool()
    advantages_bt = torch.zeros_like(values_bt)
    next_value_b = next_advantage_b = torch.zeros_like(values_bt[:, 0])
    for t in reversed(range(values_bt.shape[1])):
        surprise_b = rewards_bt[:, t] + gamma * next_value_b - values_bt[:, t]
        advantage_b = surprise_b + gamma * lam * next_advantage_b
        next_advantage_b = torch.where(counted_bt[:, t], advantage_b, next_advantage_b)
        next_value_b = torch.where(counted_bt[:, t], values_bt[:, t], next_value_b)
        advantages_bt[:, t] = next_advantage_b
    zero = torch.zeros_like(values_bt)
    return (
        torch.where(counted_bt, advantages_bt, zero),
        torch.where(counted_bt, advantages_bt + values_bt, zero),
    )


def length_adaptive_lambda(mask_bt: Tensor, *, alpha: float) -> Tensor:
    """VAPO's lambda of each response of l tokens, 1 - 1 / (alpha l), at least 0 (2504.05118, section 4.2)."""
    tokens_b = mask_bt.bool().sum(dim=1).clamp(min=1)
    return (1 - 1 / (alpha * tokens_b)).clamp(min=0)


def rewards_to_go(rewards_bt: Tensor, mask_bt: Tensor, *, gamma: float) -> Tensor:
    """Sum at each counted token of its own reward and all later ones, discounted; masked tokens take no time.

    REINFORCE's return (Williams 1992), as verl's ``compute_reinforce_plus_plus_outcome_advantage``.
    """
    return gae(rewards_bt, torch.zeros_like(rewards_bt), mask_bt, gamma=gamma, lam=1.0)[1]


class GroupSums(NamedTuple):
    """What the group of each sample holds, the sample itself included; shape (b,)."""

    count_b: Tensor
    sum_b: Tensor


def group_sums(values_b: Tensor, groups_b: Tensor) -> GroupSums:
    """Count and sum over each sample's group."""
    _, index_b = torch.unique(groups_b, return_inverse=True)
    groups = int(index_b.max()) + 1 if len(index_b) else 0
    counts = values_b.new_zeros(groups).index_add(0, index_b, torch.ones_like(values_b))
    sums = values_b.new_zeros(groups).index_add(0, index_b, values_b)
    return GroupSums(counts[index_b], sums[index_b])


def relative_to_group(scores_b: Tensor, groups_b: Tensor) -> Tensor:
    """Scores less the mean of their group; that of a sample alone stays what it is.

    Dr. GRPO (2503.20783, section 3.2) and the baseline of REINFORCE++ (2501.03262), as in verl. The mean is
    taken in fp64, so that equal fp32 scores are 0 to the last bit: what rounding leaves of them would be
    divided by a deviation that is nothing but rounding too.
    """
    exact_b = scores_b.double()
    sums = group_sums(exact_b, groups_b)
    return torch.where(sums.count_b > 1, exact_b - sums.sum_b / sums.count_b, exact_b).to(scores_b.dtype)


def group_normalised(scores_b: Tensor, groups_b: Tensor) -> Tensor:
    """GRPO's advantages: scores less the mean of their group, over its deviation.

    Shao et al., "DeepSeekMath" (2024), section 4.1.2. The deviation is unbiased, 1e-6 is added to it, and a
    sample alone has mean 0 and deviation 1, as in verl (TRL adds 1e-4, OpenRLHF 1e-9, NeMo-RL leaves the
    sample itself out of both).
    """
    centred_b = relative_to_group(scores_b, groups_b)
    sums = group_sums(centred_b.square(), groups_b)
    deviation_b = (sums.sum_b / (sums.count_b - 1).clamp(min=1)).sqrt()
    deviation_b = torch.where(sums.count_b > 1, deviation_b, 1.0)
    return centred_b / (deviation_b + _DEVIATION_EPSILON)


def leave_one_out(scores_b: Tensor, groups_b: Tensor) -> Tensor:
    """RLOO's advantages: scores less the mean of the other samples of their group.

    Ahmadian et al., "Back to Basics" (2024), section 3.2. A sample alone has nothing to be compared with and
    the advantage 0, as in NeMo-RL and in one of verl's two versions; in the other it keeps its score. Means
    are taken in fp64, as in `relative_to_group`.
    """
    exact_b = scores_b.double()
    sums = group_sums(exact_b, groups_b)
    others_b = (sums.sum_b - exact_b) / (sums.count_b - 1).clamp(min=1)
    return torch.where(sums.count_b > 1, exact_b - others_b, 0.0).to(scores_b.dtype)


def differing_groups(scores_b: Tensor, groups_b: Tensor) -> Tensor:
    """Whether the samples of each sample's group differ in score, so that they teach something (DAPO).

    Yu et al., "DAPO" (2025), section 3.2; without the rounding that a deviation has.
    """
    _, index_b = torch.unique(groups_b, return_inverse=True)
    groups = int(index_b.max()) + 1 if len(index_b) else 0
    start = scores_b.new_zeros(groups)
    highest = start.scatter_reduce(0, index_b, scores_b, reduce="amax", include_self=False)
    lowest = start.scatter_reduce(0, index_b, scores_b, reduce="amin", include_self=False)
    return (highest > lowest)[index_b]


def overlong_penalty(lengths_b: Tensor, *, longest: int, buffer: int, factor: float) -> Tensor:
    """What responses that come near the longest one get beside their scores, from 0 down to -factor.

    DAPO (2503.14476), equation 13: nothing up to ``longest - buffer`` tokens, from there on linear.
    """
    if not buffer:
        return torch.zeros_like(lengths_b, dtype=torch.float32)
    excess_b = lengths_b.float() - (longest - buffer)
    return -(excess_b / buffer * factor).clamp(min=0)


def per_token(values_b: Tensor, mask_bt: Tensor) -> Tensor:
    """The number of each response at all of its counted tokens."""
    return torch.where(mask_bt.bool(), values_b[:, None], 0.0)


def whiten(values_bt: Tensor, mask_bt: Tensor) -> Tensor:
    """Shift and scale counted values to mean 0 and unbiased variance 1, over everything that is given.

    As verl's ``masked_whiten``, with 1e-8 added to the variance. To whiten over a batch, give the whole
    batch.

    Raises
    ------
    ValueError
        Fewer than two values count, so that there is no variance.
    """
    counted_bt = mask_bt.bool()
    count = int(counted_bt.sum())
    if count < 2:
        raise ValueError(f"cannot whiten {count} counted values; at least 2 are needed")
    variance, mean = torch.var_mean(values_bt[counted_bt], correction=1)
    return torch.where(counted_bt, (values_bt - mean) * torch.rsqrt(variance + _EPSILON), 0.0)
