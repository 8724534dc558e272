"""Rewards of tokens, advantages, and the coefficient that keeps the policy near its reference.

Pure functions of fp32 tensors. Shapes are suffixes: ``b`` sequences, ``t`` response positions. A mask is 1
(or True) where a response token counts; what stands at a masked position never matters, and results are 0
there.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_EPSILON = 1e-8
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
    rewards_bt: Tensor, values_bt: Tensor, mask_bt: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation: advantages and returns.

    Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation" (2015),
    equation 16; a response ends with value 0. A masked position is skipped: the recursion carries the value
    and the advantage of the next counted token over it, as verl's ``compute_gae_advantage_return``. Nothing
    is whitened here.

    Parameters
    ----------
    gamma, lam
        Discounts of the reward and of the estimator's later terms.
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
