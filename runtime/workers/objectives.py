"""The losses of the algorithm's options, as functions of a micro-batch.

Outputs of the engines are fp32: log-probabilities (b, s-1) of the next tokens, values (b, s) of the states
before them.
"""

from collections.abc import Callable, Mapping

import torch

from planner.domain.algorithm import PpoOptions
from runtime.losses import aggregate, policy_diagnostics, policy_loss, value_loss
from runtime.workers.training import Counts, Fields, MiniBatchLoss


def policy_objective(options: PpoOptions) -> MiniBatchLoss:
    """The actor's loss: PPO's clipped surrogate."""

    def loss(
        logprobs_bt: torch.Tensor, batch: Fields, counts: Counts
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        arguments = {
            "old_logprobs_bt": batch["old_logprobs"],
            "advantages_bt": batch["advantages"],
            "clip_low": options.clip,
            "clip_high": options.clip,
            "dual_clip": options.dual_clip,
        }
        mask_bt = batch["response_mask"][:, 1:]
        share = _share(policy_loss(logprobs_bt, **arguments), mask_bt, options, counts)
        seen = policy_diagnostics(logprobs_bt, **arguments)
        mean = _token_mean(mask_bt, counts)
        return share, {
            "pg_loss": share.detach().clone(),
            "pg_clipfrac": mean(seen.clipped_bt),
            "pg_clipfrac_lower": mean(seen.dual_clipped_bt),
            "ppo_kl": mean(seen.kl_bt),
        }

    return loss


def value_objective(options: PpoOptions) -> MiniBatchLoss:
    """The critic's loss: half the squared error, clipped around the old values."""

    def loss(
        values_bs: torch.Tensor, batch: Fields, counts: Counts
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        values_bt, old_values_bt = values_bs[:, :-1], batch["old_values"]
        mask_bt = batch["response_mask"][:, 1:]
        loss_bt = value_loss(
            values_bt, old_values_bt=old_values_bt, returns_bt=batch["returns"], clip=options.value_clip
        )
        share = _share(loss_bt, mask_bt, options, counts)
        left_bt = (values_bt.detach() - old_values_bt).abs() > options.value_clip
        mean = _token_mean(mask_bt, counts)
        return share, {
            "vf_loss": share.detach().clone(),
            "vf_clipfrac": mean(left_bt.float()),
            "vpred_mean": mean(values_bt.detach()),
        }

    return loss


def _share(loss_bt: torch.Tensor, mask_bt: torch.Tensor, options: PpoOptions, counts: Counts) -> torch.Tensor:
    return aggregate(
        loss_bt,
        mask_bt,
        mode=options.aggregation,
        token_count=counts.tokens,
        sequence_count=counts.sequences,
    )


def _token_mean(mask_bt: torch.Tensor, counts: Counts) -> Callable[[torch.Tensor], torch.Tensor]:
    """The micro-batch's share of a mean over the tokens of the mini-batch."""
    return lambda values_bt: aggregate(
        values_bt, mask_bt, mode="token-mean", token_count=counts.tokens, sequence_count=counts.sequences
    )
