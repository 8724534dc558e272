"""Advantages and returns of each estimator that an algorithm can name, from rewards of tokens.

Pure functions of the algorithm's options, the samples, and their rewards: shapes (b, t) as everywhere.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from planner.domain.algorithm import GrpoOptions, PpoOptions, SafeRlhfOptions
from runtime.advantages import (
    gae,
    group_normalised,
    leave_one_out,
    length_adaptive_lambda,
    per_token,
    relative_to_group,
    rewards_to_go,
    token_rewards,
    whiten,
)

Fields = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of an iteration, as estimators read them."""

    fields: Fields
    groups_b: Tensor
    """Number of each sample's prompt."""

    @property
    def mask_bt(self) -> Tensor:
        return self.fields["response_mask"][:, 1:].bool()

    @property
    def old_logprobs_bt(self) -> Tensor:
        """Of the policy before the update: the actor's own where it computed them, else the generator's."""
        own = "proximal_logprobs" if "proximal_logprobs" in self.fields else "old_logprobs"
        return self.fields[own]

    def at(self, rows: Sequence[int]) -> "Samples":
        """Some of the samples."""
        fields = {name: values[list(rows)] for name, values in self.fields.items()}
        return Samples(fields=fields, groups_b=self.groups_b[list(rows)])

    @property
    def lengths_b(self) -> Tensor:
        """Tokens of each response."""
        return self.mask_bt.sum(dim=1)


Estimates = tuple[Tensor, Tensor]
"""Advantages and returns."""


def actor_critic(options: PpoOptions | SafeRlhfOptions, samples: Samples, rewards_bt: Tensor) -> Estimates:
    """GAE (Schulman et al. 2015); the actor's and the critic's lambda may differ (VAPO 2504.05118)."""
    values_bt, mask_bt = samples.fields["old_values"], samples.mask_bt
    if isinstance(options, SafeRlhfOptions):
        return gae(rewards_bt, values_bt, mask_bt, gamma=options.gamma, lam=options.lam)
    own = options.length_adaptive
    lam = options.lam if own is None else length_adaptive_lambda(mask_bt, alpha=own)
    of_critic = options.lam if options.value_lam is None else options.value_lam
    advantages_bt, _ = gae(rewards_bt, values_bt, mask_bt, gamma=options.gamma, lam=lam)
    _, returns_bt = gae(rewards_bt, values_bt, mask_bt, gamma=options.gamma, lam=of_critic)
    return whiten(advantages_bt, mask_bt) if options.whiten else advantages_bt, returns_bt


def greedy_baseline(options: Any, samples: Samples, rewards_bt: Tensor) -> Estimates:
    """ReMax (2310.10505, section 4): rewards to come less the score of the prompt's greedy response.

    A penalty in the rewards counts from each token on; the greedy response pays none, as in verl.
    """
    mask_bt = samples.mask_bt
    returns_bt = rewards_to_go(rewards_bt, mask_bt, gamma=1.0)
    return returns_bt - per_token(samples.fields["baselines"], mask_bt), returns_bt


def group_relative(options: Any, samples: Samples, rewards_bt: Tensor) -> Estimates:
    """GRPO (2402.03300); a response's reward is that of its tokens together, penalty included."""
    if isinstance(options, GrpoOptions) and not options.divide_by_deviation:
        return group_centred(options, samples, rewards_bt)
    advantages_bt = per_token(group_normalised(rewards_bt.sum(dim=1), samples.groups_b), samples.mask_bt)
    return advantages_bt, advantages_bt


def group_centred(options: Any, samples: Samples, rewards_bt: Tensor) -> Estimates:
    """Dr. GRPO (2503.20783): the same, not divided by the group's deviation."""
    advantages_bt = per_token(relative_to_group(rewards_bt.sum(dim=1), samples.groups_b), samples.mask_bt)
    return advantages_bt, advantages_bt


def others_mean(options: Any, samples: Samples, rewards_bt: Tensor) -> Estimates:
    """RLOO (2402.14740); a response's reward is that of its tokens together, penalty included."""
    advantages_bt = per_token(leave_one_out(rewards_bt.sum(dim=1), samples.groups_b), samples.mask_bt)
    return advantages_bt, advantages_bt


def whitened_rewards(options: Any, samples: Samples, rewards_bt: Tensor) -> Estimates:
    """REINFORCE++ (2501.03262): discounted rewards to come, whitened over the iteration.

    With a group baseline, each response's reward less its group's mean, at all of its tokens, as in verl.
    """
    mask_bt = samples.mask_bt
    if options.group_baseline:
        returns_bt = per_token(relative_to_group(rewards_bt.sum(dim=1), samples.groups_b), mask_bt)
    else:
        returns_bt = rewards_to_go(rewards_bt, mask_bt, gamma=options.gamma)
    return whiten(returns_bt, mask_bt), returns_bt


def constrained_rewards(
    options: SafeRlhfOptions, samples: Samples, penalty: tuple[Tensor, float], multiplier: float
) -> Tensor:
    """Safe-RLHF's reward less weighted cost, each with its KL penalty, clamped: (r - l c) / (1 + l).

    Dai et al. (2310.12773) weigh the two advantages like this. GAE is linear, so that with the one critic of
    HybridFlow, which learns the returns of both together, weighing the rewards is the same.

    Parameters
    ----------
    penalty
        The divergence of each token and its coefficient.
    """
    kl_bt, coefficient = penalty
    mask_bt, limit = samples.mask_bt, options.score_clip
    rewards_bt = token_rewards(samples.fields["scores"], kl_bt, mask_bt, coefficient=coefficient)
    costs_bt = token_rewards(samples.fields["costs"], kl_bt, mask_bt, coefficient=-coefficient)
    rewards_bt, costs_bt = rewards_bt.clamp(-limit, limit), costs_bt.clamp(-limit, limit)
    return (rewards_bt - multiplier * costs_bt) / (1 + multiplier)


ESTIMATORS: Mapping[str, Callable[[Any, Samples, Tensor], Estimates]] = MappingProxyType(
    {
        "gae": actor_critic,
        "lagrangian": actor_critic,
        "remax": greedy_baseline,
        "grpo": group_relative,
        "dr_grpo": group_centred,
        "rloo": others_mean,
        "reinforce_plus_plus": whitened_rewards,
    }
)
"""Each under the name that algorithms give to the controller's ``advantages``."""


def consecutive_groups(samples: int, size: int) -> Tensor:
    """Numbers of groups whose samples follow each other.

    >>> consecutive_groups(4, 2).tolist()
    [0, 0, 1, 1]
    """
    return torch.arange(samples) // size
