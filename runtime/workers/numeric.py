"""The controller's calls: numbers without a model, in a process without a device."""

from collections.abc import Mapping

import torch

from planner.domain.algorithm import PpoOptions
from planner.domain.workload import Workload
from runtime.advantages import gae, mean_kl, token_rewards, whiten
from runtime.losses import kl_estimate
from runtime.workers.call import Answer, Call

Fields = Mapping[str, torch.Tensor]


class Estimator:
    """Advantages of the whole batch."""

    def __init__(self, options: PpoOptions, workload: Workload) -> None:
        self._options, self._workload = options, workload

    def advantages(self, call: Call, fields: Fields) -> Answer:
        """Rewards with their KL penalty, GAE, advantages whitened over the batch; and the batch's numbers."""
        options = self._options
        mask_bt = fields["response_mask"][:, 1:]
        kl_bt = kl_estimate(fields["old_logprobs"], fields["reference_logprobs"], options.kl_estimator)
        rewards_bt = token_rewards(fields["scores"], kl_bt, mask_bt, coefficient=options.kl_coefficient)
        advantages_bt, returns_bt = gae(
            rewards_bt, fields["old_values"], mask_bt, gamma=options.gamma, lam=options.lam
        )
        advantages_bt = whiten(advantages_bt, mask_bt)
        metrics = {
            "actor/reward_kl_penalty": mean_kl(kl_bt, mask_bt),
            "actor/reward_kl_penalty_coeff": options.kl_coefficient,
            **summary("critic/score", fields["scores"]),
            **summary("critic/rewards", rewards_bt.sum(dim=1)),
            **summary("critic/advantages", advantages_bt[mask_bt]),
            **summary("critic/returns", returns_bt[mask_bt]),
            **summary("critic/values", fields["old_values"][mask_bt]),
            **_explained_variance(fields["old_values"][mask_bt], returns_bt[mask_bt]),
            **length_metrics(fields["response_mask"], self._workload.response_tokens.maximum),
        }
        outputs = {"advantages": advantages_bt.numpy(), "returns": returns_bt.numpy()}
        return Answer(fields=outputs, metrics=metrics)


def summary(name: str, values: torch.Tensor) -> dict[str, float]:
    """Mean, maximum and minimum, under verl's names."""
    return {
        f"{name}/mean": float(values.float().mean()),
        f"{name}/max": float(values.max()),
        f"{name}/min": float(values.min()),
    }


def length_metrics(response_mask_bs: torch.Tensor, maximum_response_tokens: int) -> dict[str, float]:
    """Lengths of prompts and responses, how many responses were cut off, and all tokens together."""
    responses_b = response_mask_bs.sum(dim=1)
    prompts_b = response_mask_bs.int().argmax(dim=1)
    return {
        **summary("response_length", responses_b),
        "response_length/clip_ratio": float((responses_b == maximum_response_tokens).float().mean()),
        **summary("prompt_length", prompts_b),
        "perf/total_num_tokens": float((responses_b + prompts_b).sum()),
    }


def _explained_variance(values: torch.Tensor, returns: torch.Tensor) -> dict[str, float]:
    """1 - Var(returns - values) / Var(returns): what the critic knows already."""
    variance = torch.var(returns)
    return {"critic/vf_explained_var": float(1 - torch.var(returns - values) / (variance + 1e-5))}
