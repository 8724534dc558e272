"""The losses of the algorithm's options, as functions of a micro-batch.

Outputs of the engines are fp32: log-probabilities (b, s-1) of the next tokens, values (b, s) of the states
before them. Each loss is the micro-batch's share of its mini-batch's.
"""

from collections.abc import Callable, Mapping

import torch

from planner.domain.algorithm import AlgorithmOptions, GspoOptions, PpoOptions, SafeRlhfOptions
from runtime.losses import (
    aggregate,
    clipped_values,
    kl_estimate,
    policy_diagnostics,
    policy_loss,
    sequence_log_ratio,
    value_loss,
)
from runtime.workers.training import Counts, Fields, MiniBatchLoss

Part = tuple[torch.Tensor, Mapping[str, torch.Tensor]]
"""Shares of a micro-batch in its mini-batch's loss and metrics."""


def policy_objective(options: AlgorithmOptions, *, longest_response: int | None = None) -> MiniBatchLoss:
    """The actor's loss: the clipped surrogate, the divergence where it is part of the loss, pretraining.

    The ratio is against ``proximal_logprobs`` where the batch has them, else ``old_logprobs``; weights of a
    correction are in the advantages already. A micro-batch with ``pretraining_mask`` is pretraining data.

    Parameters
    ----------
    longest_response
        Tokens that a response has at most; needed where the aggregation divides by it.

    Raises
    ------
    ValueError
        It is needed and not given.
    """
    _check_aggregation(options, longest_response)

    def loss(logprobs_bt: torch.Tensor, batch: Fields, counts: Counts) -> Part:
        if "pretraining_mask" in batch:
            return _pretraining_loss(logprobs_bt, batch, options, counts)
        mask_bt = batch["response_mask"][:, 1:]
        arguments = _surrogate(logprobs_bt, batch, options)
        share = _shares(mask_bt, options, counts, longest_response)
        policy = share(policy_loss(**arguments))
        metrics = {"pg_loss": policy.detach().clone(), **_diagnostics(arguments, mask_bt, counts)}
        if isinstance(options, SafeRlhfOptions):
            metrics["ptx_loss"] = torch.zeros_like(policy)
        if not options.kl_loss_coefficient:
            return policy, metrics
        divergence = share(kl_estimate(logprobs_bt, batch["reference_logprobs"], options.kl_estimator))
        metrics["kl_loss"] = divergence.detach().clone()
        return policy + options.kl_loss_coefficient * divergence, metrics

    return loss


def value_objective(
    options: PpoOptions | SafeRlhfOptions, *, longest_response: int | None = None
) -> MiniBatchLoss:
    """The critic's loss: half the squared error, clipped around the old values."""
    _check_aggregation(options, longest_response)

    def loss(values_bs: torch.Tensor, batch: Fields, counts: Counts) -> Part:
        values_bt, mask_bt = values_bs[:, :-1], batch["response_mask"][:, 1:]
        targets = {"old_values_bt": batch["old_values"], "returns_bt": batch["returns"]}
        loss_bt = value_loss(values_bt, **targets, clip=options.value_clip)
        share = _shares(mask_bt, options, counts, longest_response)(loss_bt)
        mean = _token_mean(mask_bt, counts)
        return share, {
            "vf_loss": share.detach().clone(),
            "vf_clipfrac": mean(clipped_values(values_bt, **targets, clip=options.value_clip)),
            "vpred_mean": mean(values_bt.detach()),
        }

    return loss


def _surrogate(logprobs_bt: torch.Tensor, batch: Fields, options: AlgorithmOptions) -> dict[str, object]:
    """Arguments of the policy's loss and of its diagnostics; GSPO's ratio is that of the whole response."""
    old_bt = batch["proximal_logprobs"] if "proximal_logprobs" in batch else batch["old_logprobs"]
    low, high = options.clip_bounds
    if isinstance(options, GspoOptions):
        mask_bt = batch["response_mask"][:, 1:]
        logprobs_bt = sequence_log_ratio(logprobs_bt, old_logprobs_bt=old_bt, mask_bt=mask_bt)
        old_bt = torch.zeros_like(logprobs_bt)
    return {
        "logprobs_bt": logprobs_bt,
        "old_logprobs_bt": old_bt,
        "advantages_bt": batch["advantages"],
        "clip_low": low,
        "clip_high": high,
        "dual_clip": options.dual_clip,
    }


def _diagnostics(
    arguments: Mapping[str, object], mask_bt: torch.Tensor, counts: Counts
) -> dict[str, torch.Tensor]:
    """What the update does to the policy, under verl's names."""
    seen = policy_diagnostics(**arguments)
    mean = _token_mean(mask_bt, counts)
    return {
        "pg_clipfrac": mean(seen.clipped_bt),
        "pg_clipfrac_lower": mean(seen.dual_clipped_bt),
        "ppo_kl": mean(seen.kl_bt),
    }


def _pretraining_loss(
    logprobs_bt: torch.Tensor, batch: Fields, options: SafeRlhfOptions, counts: Counts
) -> Part:
    """Mean negative log-likelihood of the pretraining tokens, weighted (InstructGPT 2022, equation 2)."""
    counted_bt = batch["pretraining_mask"][:, 1:].bool()
    surprise = -torch.where(counted_bt, logprobs_bt, 0.0).sum() / max(counts.pretraining_tokens, 1)
    return options.pretraining_coefficient * surprise, {"ptx_loss": surprise.detach().clone()}


def _shares(
    mask_bt: torch.Tensor, options: AlgorithmOptions, counts: Counts, longest: int | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The micro-batch's share of the mini-batch's loss, from losses of tokens."""
    return lambda loss_bt: aggregate(
        loss_bt,
        mask_bt,
        mode=options.aggregation,
        token_count=counts.tokens,
        sequence_count=counts.sequences,
        longest=longest,
    )


def _token_mean(mask_bt: torch.Tensor, counts: Counts) -> Callable[[torch.Tensor], torch.Tensor]:
    """The micro-batch's share of a mean over the tokens of the mini-batch."""
    return lambda values_bt: aggregate(
        values_bt, mask_bt, mode="token-mean", token_count=counts.tokens, sequence_count=counts.sequences
    )


def _check_aggregation(options: AlgorithmOptions, longest: int | None) -> None:
    if options.aggregation == "seq-mean-token-sum-norm" and not longest:
        raise ValueError(f"{options.name}: {options.aggregation} divides by the longest response; give it")
