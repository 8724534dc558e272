"""Corrections for samples of an engine that computes otherwise than the one that trains.

Pure functions of fp32 tensors. Shapes are suffixes: ``b`` sequences, ``t`` response positions. The behaviour
policy is the engine that generated; the proximal policy is the actor's own forward pass at the weights before
the update. What stands at a masked position never matters, and results are 0 there. The names of metrics and
of measures are verl's (``rollout_corr_helper``).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from planner.domain.algorithm import Correction, Rejection
from runtime.losses import LOG_RATIO_LIMIT


def importance_weights(
    proximal_logprobs_bt: Tensor,
    behaviour_logprobs_bt: Tensor,
    mask_bt: Tensor,
    *,
    level: Literal["token", "sequence"],
    kind: Literal["truncate", "mask"],
    bounds: tuple[float, float],
) -> Tensor:
    """Weights of tokens: the probability when training over the one when generating, within bounds.

    Truncated importance sampling (Yao et al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL
    Training", 2025) cuts weights at the upper bound; masking (IcePop, Ling team, 2025) makes those outside of
    both bounds 0. A sequence's weight is the product of its tokens', at each of them.
    """
    counted_bt = mask_bt.bool()
    ratio_bt = _log_ratio(proximal_logprobs_bt, behaviour_logprobs_bt, counted_bt)
    if level == "sequence":
        ratio_bt = ratio_bt.sum(dim=1, keepdim=True).expand_as(ratio_bt)
    weights_bt = ratio_bt.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    lowest, highest = bounds
    if kind == "truncate":
        weights_bt = weights_bt.clamp(max=highest)
    else:
        inside_bt = (weights_bt >= lowest) & (weights_bt <= highest)
        weights_bt = torch.where(inside_bt, weights_bt, 0.0)
    return torch.where(counted_bt, weights_bt, 0.0)


def normalised(weights_bt: Tensor, mask_bt: Tensor, *, level: Literal["token", "sequence"]) -> Tensor:
    """Weights over their mean; zeros stay zeros.

    The mean is over the counted tokens; of weights of sequences over those, however long they are, as verl's.
    """
    counted_bt = mask_bt.bool()
    weights_bt = torch.where(counted_bt, weights_bt, 0.0)
    of_row_b = _row_mean(weights_bt, counted_bt)[counted_bt.any(dim=1)]
    mean = _mean(weights_bt[counted_bt] if level == "token" else of_row_b)
    return weights_bt / mean if mean > 0 else weights_bt


def kept(
    proximal_logprobs_bt: Tensor,
    behaviour_logprobs_bt: Tensor,
    mask_bt: Tensor,
    rejections: Sequence[Rejection],
) -> Tensor:
    """Which counted tokens no rejection drops; a response is dropped whole by measures over its tokens."""
    kept_bt = mask_bt.bool()
    ratio_bt = _log_ratio(proximal_logprobs_bt, behaviour_logprobs_bt, kept_bt)
    for rejection in rejections:
        divergence_bt = _measured(ratio_bt, mask_bt.bool(), rejection.measure)
        low, high = _limits(rejection)
        kept_bt = kept_bt & (divergence_bt >= low) & (divergence_bt <= high)
    return kept_bt


def correction_weights(
    proximal_logprobs_bt: Tensor, behaviour_logprobs_bt: Tensor, mask_bt: Tensor, correction: Correction
) -> Tensor:
    """What each token's loss is multiplied by under a correction's options.

    A rejected token has weight 0 in the policy's surrogate; a divergence in the loss and the critic see it
    still. In verl it leaves those as well, and the counts that losses are divided by, which here stay those
    of all tokens, so that they are known before anything is rejected. Weights are normalised over all that
    is given, before the rejection.
    """
    weights_bt = importance_weights(
        proximal_logprobs_bt,
        behaviour_logprobs_bt,
        mask_bt,
        level=correction.level,
        kind=correction.kind,
        bounds=correction.bounds,
    )
    if correction.normalise:
        weights_bt = normalised(weights_bt, mask_bt, level=correction.level)
    kept_bt = kept(proximal_logprobs_bt, behaviour_logprobs_bt, mask_bt, correction.reject)
    return torch.where(kept_bt, weights_bt, 0.0)


def mismatch_metrics(
    proximal_logprobs_bt: Tensor, behaviour_logprobs_bt: Tensor, mask_bt: Tensor
) -> Mapping[str, float]:
    """How far the engines are from each other, under verl's names.

    ``kl`` is the k1 and ``k3_kl`` the k3 estimate of KL(behaviour, proximal) per token, from samples of the
    behaviour policy; ``chi2_*`` the mean squared weight less 1; perplexities are means over responses.
    """
    counted_bt = mask_bt.bool()
    ratio_bt = _log_ratio(proximal_logprobs_bt, behaviour_logprobs_bt, counted_bt)
    tokens_b = counted_bt.sum(dim=1)
    some_b = tokens_b > 0
    train_b = _row_mean(proximal_logprobs_bt, counted_bt)[some_b]
    generate_b = _row_mean(behaviour_logprobs_bt, counted_bt)[some_b]
    sums_b = ratio_bt.sum(dim=1)[some_b].clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratios = ratio_bt[counted_bt].clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return {
        "rollout_corr/kl": _mean(-ratios),
        "rollout_corr/k3_kl": _mean(ratios.exp() - 1 - ratios),
        "rollout_corr/training_ppl": _mean((-train_b).exp()),
        "rollout_corr/training_log_ppl": _mean(-train_b),
        "rollout_corr/rollout_ppl": _mean((-generate_b).exp()),
        "rollout_corr/rollout_log_ppl": _mean(-generate_b),
        "rollout_corr/log_ppl_diff": _mean(generate_b - train_b),
        "rollout_corr/log_ppl_abs_diff": _mean((generate_b - train_b).abs()),
        "rollout_corr/ppl_ratio": _mean((generate_b - train_b).exp()),
        "rollout_corr/chi2_token": _mean((2 * ratios).exp() - 1),
        "rollout_corr/chi2_seq": _mean((2 * sums_b).exp() - 1),
    }


def weight_metrics(weights_bt: Tensor, mask_bt: Tensor) -> Mapping[str, float]:
    """What the weights of a correction are like, under verl's names; best of weights not normalised yet.

    The effective sample size is a share of the tokens (Kish 1965), and the share of zeros is ours.
    """
    weights = weights_bt[mask_bt.bool()]
    mean_square = _mean(weights.square())
    return {
        "rollout_corr/rollout_is_mean": _mean(weights),
        "rollout_corr/rollout_is_max": float(weights.max()) if len(weights) else 0.0,
        "rollout_corr/rollout_is_min": float(weights.min()) if len(weights) else 0.0,
        "rollout_corr/rollout_is_std": float(weights.std()) if len(weights) > 1 else 0.0,
        "rollout_corr/rollout_is_eff_sample_size": _mean(weights) ** 2 / mean_square if mean_square else 0.0,
        "rollout_corr/rollout_is_zero_fraction": _mean((weights == 0).float()),
    }


def rejection_metrics(kept_bt: Tensor, mask_bt: Tensor) -> Mapping[str, float]:
    """Shares of counted tokens that were rejected, and of responses that lost at least one."""
    counted_bt = mask_bt.bool()
    lost_bt = counted_bt & ~kept_bt
    return {
        "rollout_corr/rollout_rs_masked_fraction": _mean(lost_bt[counted_bt].float()),
        "rollout_corr/rollout_rs_seq_masked_fraction": _mean(lost_bt.any(dim=1).float()),
    }


def _measured(ratio_bt: Tensor, counted_bt: Tensor, measure: str) -> Tensor:
    """The divergence of generating from training that a rejection looks at, at each token."""
    reach, kind = measure.rsplit("_", 1)
    clamped_bt = ratio_bt.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    of_token_bt = {
        "k1": -clamped_bt,
        "k2": clamped_bt.square() / 2,
        "k3": clamped_bt.exp() - 1 - clamped_bt,
    }[kind]
    of_token_bt = torch.where(counted_bt, of_token_bt, 0.0)
    if reach == "token":
        return of_token_bt
    of_sequence_b = {
        "seq_sum": of_token_bt.sum(dim=1),
        "seq_mean": _row_mean(of_token_bt, counted_bt),
        "seq_max": of_token_bt.amax(dim=1),
    }[reach]
    return of_sequence_b[:, None].expand_as(of_token_bt)


def _limits(rejection: Rejection) -> tuple[float, float]:
    """Smallest and greatest divergence; a k1's are logarithms of ratios."""
    if not rejection.measure.endswith("k1"):
        return 0.0, rejection.upper
    lower = 1 / rejection.upper if rejection.lower is None else rejection.lower
    return math.log(lower), math.log(rejection.upper)


def _log_ratio(proximal_bt: Tensor, behaviour_bt: Tensor, counted_bt: Tensor) -> Tensor:
    """Training over generating."""
    return torch.where(counted_bt, proximal_bt - behaviour_bt, 0.0)


def _row_mean(values_bt: Tensor, counted_bt: Tensor) -> Tensor:
    return torch.where(counted_bt, values_bt, 0.0).sum(dim=1) / counted_bt.sum(dim=1).clamp(min=1)


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0
