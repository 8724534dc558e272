"""Losses of the actor and the critic, and how tokens are summed up to one number.

Pure functions of fp32 tensors. Shapes are suffixes: ``b`` sequences, ``t`` response positions. A mask is 1
(or True) where a response token counts; what stands at a masked position never matters, as long as it is
finite.

The functions before `aggregate` give one value per token. `aggregate` divides by the counts of the whole
mini-batch, so losses of micro-batches and of data-parallel ranks are parts of one sum: add them up, never
average them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

KLKind = Literal["k1", "abs", "k2", "k3", "k1+", "k2+", "k3+", "abs+"]
AggregationMode = Literal[
    "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm", "seq-mean-token-mean"
]

LOG_RATIO_LIMIT = 20.0
"""Greatest distance of a log-ratio from 0 that counts."""
_K3_LIMIT = 10.0
_SEQUENCE_LOG_RATIO_LIMIT = 10.0
_PLAIN: Mapping[str, KLKind] = MappingProxyType({"k1+": "k1", "k2+": "k2", "k3+": "k3", "abs+": "abs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDiagnostics:
    """What one update does to the policy, per token; `aggregate` them with mode ``token-mean``.

    Parameters
    ----------
    clipped_bt
        1 where the clipped ratio decides the loss, so that the token has no gradient.
    dual_clipped_bt
        1 where the dual clip decides it.
    kl_bt
        The k1 estimate of KL(old policy, policy), from samples of the old policy.
    """

    clipped_bt: Tensor
    dual_clipped_bt: Tensor
    kl_bt: Tensor


def kl_estimate(logprobs_bt: Tensor, reference_logprobs_bt: Tensor, kind: KLKind) -> Tensor:
    """Estimate KL(policy, reference) per token from samples of the policy.

    Schulman, "Approximating KL divergence" (2020), with d = logprob - reference logprob: k1 is d, k2 is
    d^2/2, k3 is exp(-d) - 1 + d. Only k3 is clamped, as verl does: -d to [-20, 20], then the estimate to
    [-10, 10]. OpenRLHF clamps every estimate, NeMo-RL every input and output, TRL none.

    With a plus sign, an estimate keeps its value and has the gradient of k2 (straight-through, as verl's):
    that is the one whose expected gradient is the divergence's, d times the score, on samples of the policy.
    """
    if kind in _PLAIN:
        value_bt = kl_estimate(logprobs_bt, reference_logprobs_bt, _PLAIN[kind])
        gradient_bt = kl_estimate(logprobs_bt, reference_logprobs_bt, "k2")
        return (gradient_bt - gradient_bt.detach()) + value_bt.detach()
    difference_bt = logprobs_bt - reference_logprobs_bt
    match kind:
        case "k1":
            return difference_bt
        case "abs":
            return difference_bt.abs()
        case "k2":
            return difference_bt.square() / 2
        case "k3":
            negated_bt = (-difference_bt).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
            return (negated_bt.exp() - 1 - negated_bt).clamp(-_K3_LIMIT, _K3_LIMIT)
        case _:
            raise ValueError(f"unknown KL estimate {kind!r}; expected one of {', '.join(get_args(KLKind))}")


def policy_loss(
    logprobs_bt: Tensor,
    *,
    old_logprobs_bt: Tensor,
    advantages_bt: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Tensor:
    """Clipped surrogate loss of PPO, per token.

    Schulman et al., "Proximal Policy Optimization Algorithms" (2017), equation 7, with a lower and an upper
    bound of their own (DAPO, 2025, section 3.1). The log-ratio is clamped to [-20, 20], as in verl.

    Parameters
    ----------
    dual_clip
        Bound the loss of a token of negative advantage by this multiple of -advantage (Ye et al., "Mastering
        Complex Control in MOBA Games with Deep Reinforcement Learning", 2020); above 1, usually 3.
    """
    ratio_bt = _log_ratio(logprobs_bt, old_logprobs_bt).exp()
    plain_bt = -advantages_bt * ratio_bt
    clipped_bt = -advantages_bt * ratio_bt.clamp(1 - clip_low, 1 + clip_high)
    loss_bt = torch.maximum(plain_bt, clipped_bt)
    if dual_clip is None:
        return loss_bt
    return torch.where(advantages_bt < 0, torch.minimum(loss_bt, -advantages_bt * dual_clip), loss_bt)


def sequence_log_ratio(logprobs_bt: Tensor, *, old_logprobs_bt: Tensor, mask_bt: Tensor) -> Tensor:
    """GSPO's log-ratio, one for a whole response: the mean of its tokens' log-ratios, at every token.

    Zheng et al., "Group Sequence Policy Optimization" (2025), sections 4.1 and 4.3. Give it to `policy_loss`
    and `policy_diagnostics` in the place of ``logprobs_bt``, with zeros as ``old_logprobs_bt``; aggregated by
    ``seq-mean-token-mean``, the tokens of a response then have the gradient of its ratio together. At most
    10, as verl's; a row must hold the whole response.
    """
    counted_bt = mask_bt.bool()
    difference_bt = torch.where(counted_bt, logprobs_bt - old_logprobs_bt, 0.0)
    mean_b = difference_bt.detach().sum(dim=1) / counted_bt.sum(dim=1).clamp(min=1)
    return (logprobs_bt - logprobs_bt.detach() + mean_b[:, None]).clamp(max=_SEQUENCE_LOG_RATIO_LIMIT)


def policy_diagnostics(
    logprobs_bt: Tensor,
    *,
    old_logprobs_bt: Tensor,
    advantages_bt: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> PolicyDiagnostics:
    """Say which tokens `policy_loss` clips, and how far the policy moved; same arguments, no gradient."""
    with torch.no_grad():
        log_ratio_bt = _log_ratio(logprobs_bt, old_logprobs_bt)
        ratio_bt = log_ratio_bt.exp()
        plain_bt = -advantages_bt * ratio_bt
        clipped_bt = -advantages_bt * ratio_bt.clamp(1 - clip_low, 1 + clip_high)
        bound_bt = -advantages_bt * (float("inf") if dual_clip is None else dual_clip)
        dual_clipped_bt = (advantages_bt < 0) & (torch.maximum(plain_bt, clipped_bt) > bound_bt)
        return PolicyDiagnostics(
            clipped_bt=(clipped_bt > plain_bt).float(),
            dual_clipped_bt=dual_clipped_bt.float(),
            kl_bt=-log_ratio_bt,
        )


def value_loss(values_bt: Tensor, *, old_values_bt: Tensor, returns_bt: Tensor, clip: float | None) -> Tensor:
    """Half the squared error of the critic per token, the larger of plain and clipped.

    The value may leave the old value by at most `clip` before it stops to count (OpenAI baselines, ``ppo2``;
    verl's ``compute_value_loss``). None is the plain squared error.
    """
    squared_bt = (values_bt - returns_bt).square()
    if clip is None:
        return squared_bt / 2
    return torch.maximum(squared_bt, _clipped_error(values_bt, old_values_bt, returns_bt, clip)) / 2


def clipped_values(
    values_bt: Tensor, *, old_values_bt: Tensor, returns_bt: Tensor, clip: float | None
) -> Tensor:
    """1 where the clipped error decides `value_loss`, so that the token has no gradient; same arguments.

    Only beyond the bounds: within them the two errors differ by rounding.
    """
    if clip is None:
        return torch.zeros_like(values_bt)
    with torch.no_grad():
        is_beyond_bt = (values_bt - old_values_bt).abs() > clip
        squared_bt = (values_bt - returns_bt).square()
        is_larger_bt = _clipped_error(values_bt, old_values_bt, returns_bt, clip) > squared_bt
        return (is_beyond_bt & is_larger_bt).float()


def mini_batch_counts(mask_bt: Tensor) -> tuple[int, int]:
    """Count the tokens, and the sequences with a token at all, of a whole mini-batch."""
    counted_bt = mask_bt.bool()
    return int(counted_bt.sum()), int(counted_bt.any(dim=1).sum())


def aggregate(
    loss_bt: Tensor,
    mask_bt: Tensor,
    *,
    mode: AggregationMode,
    token_count: int,
    sequence_count: int,
    longest: int | None = None,
) -> Tensor:
    """Sum losses of tokens up to this micro-batch's share of the mini-batch's loss.

    The names are verl's (``agg_loss``). The shares of all micro-batches on all data-parallel ranks add up to
    the loss of the mini-batch in one piece, and so do their gradients. An engine that averages gradients over
    ranks needs the share times the number of ranks.

    Parameters
    ----------
    mode
        ``token-mean``: every token weighs the same (DAPO). ``token-sum``: no division.
        ``seq-mean-token-sum``: sums of sequences, averaged. ``seq-mean-token-sum-norm``: the same over a
        constant, `longest` (Dr. GRPO; verl's default is the width of the padded batch, which depends on who
        is beside whom). ``seq-mean-token-mean``: means of sequences, averaged (GRPO).
    token_count, sequence_count
        Those of the *whole* mini-batch, over all micro-batches and ranks (`mini_batch_counts`). A sequence
        without a counted token is no sequence; a mini-batch without any has the loss 0.
    longest
        Tokens of the longest response that there may be, in every mini-batch the same.

    Raises
    ------
    ValueError
        The mode is unknown, or needs ``longest``.
    """
    masked_bt = torch.where(mask_bt.bool(), loss_bt, 0.0)
    match mode:
        case "token-mean":
            return masked_bt.sum() / max(token_count, 1)
        case "token-sum":
            return masked_bt.sum()
        case "seq-mean-token-sum":
            return masked_bt.sum() / max(sequence_count, 1)
        case "seq-mean-token-sum-norm":
            if not longest:
                raise ValueError(f"aggregation {mode!r} divides by the longest response; give longest")
            return masked_bt.sum() / max(sequence_count, 1) / longest
        case "seq-mean-token-mean":
            tokens_b = mask_bt.bool().sum(dim=1).clamp(min=1)
            return (masked_bt.sum(dim=1) / tokens_b).sum() / max(sequence_count, 1)
        case _:
            raise ValueError(
                f"unknown aggregation {mode!r}; expected one of {', '.join(get_args(AggregationMode))}"
            )


def _clipped_error(values_bt: Tensor, old_values_bt: Tensor, returns_bt: Tensor, clip: float) -> Tensor:
    near_bt = old_values_bt + (values_bt - old_values_bt).clamp(-clip, clip)
    return (near_bt - returns_bt).square()


def _log_ratio(logprobs_bt: Tensor, old_logprobs_bt: Tensor) -> Tensor:
    return (logprobs_bt - old_logprobs_bt).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
