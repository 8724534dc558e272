"""The controller's calls: numbers without a model, in a process without a device."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from planner.domain.algorithm import AlgorithmOptions, Correction, DapoOptions, SafeRlhfOptions
from planner.domain.text import dump_json, load_json, write_text
from planner.domain.workload import Workload
from runtime.advantages import (
    AdaptiveKL,
    Multiplier,
    adapt,
    differing_groups,
    mean_kl,
    overlong_penalty,
    step,
    token_rewards,
)
from runtime.corrections import (
    correction_weights,
    kept,
    mismatch_metrics,
    rejection_metrics,
    weight_metrics,
)
from runtime.losses import kl_estimate
from runtime.workers.call import Answer, Call
from runtime.workers.estimators import (
    ESTIMATORS,
    Fields,
    Samples,
    consecutive_groups,
    constrained_rewards,
)

STATE = "state.json"


class Estimator:
    """Advantages of the whole batch, and what is steered from one iteration to the next."""

    def __init__(self, options: AlgorithmOptions, workload: Workload) -> None:
        self._options, self._workload = options, workload
        self._coefficient = options.kl_coefficient
        self._changes: dict[int, float] = {}
        self._multiplier: Multiplier | None = None
        self._costs: deque[float] = deque()
        if isinstance(options, SafeRlhfOptions):
            self._costs = deque(maxlen=options.cost_window)
            self._multiplier = Multiplier(
                log_value=math.log(options.multiplier),
                threshold=options.cost_threshold,
                learning_rate=options.multiplier_learning_rate,
                maximum=options.multiplier_maximum,
            )

    def state(self) -> dict[str, Any]:
        """What the next iteration depends on, as JSON has it: a checkpoint holds it."""
        state: dict[str, Any] = {"kl_coefficient": self._charged_in()}
        if self._multiplier is not None:
            state |= {"log_multiplier": self._multiplier.log_value, "costs": list(self._costs)}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._coefficient, self._changes = state["kl_coefficient"], {}
        if self._multiplier is not None:
            self._multiplier = replace(self._multiplier, log_value=state["log_multiplier"])
            self._costs = deque(state["costs"], maxlen=self._costs.maxlen)

    def save_state(self, call: Call, fields: Fields) -> Answer:
        """Write the `state` to the folder in the options."""
        write_text(Path(str(call.options["folder"])) / STATE, dump_json(self.state()))
        return Answer()

    def load_state(self, call: Call, fields: Fields) -> Answer:
        """Go on from the `state` in the folder in the options."""
        self.restore(load_json(Path(str(call.options["folder"])) / STATE))
        return Answer()

    def advantages(self, call: Call, fields: Fields) -> Answer:
        """Advantages and returns of all rows, by the estimator in the options; and the batch's numbers.

        With DAPO's options, the answer keeps the rows of the first prompts whose samples differ in score, as
        many as the workload has, or fewer where there are fewer; its numbers speak of those, of all where
        none is kept. Asked again in one iteration, about more rows, it charges for divergence as before, also
        where another iteration asked in between.
        """
        samples, coefficient = self._samples(fields), self._charged_in(call.iteration)
        own = self._move_multiplier(call, samples)
        rewards_bt = self._rewards(samples, coefficient)
        estimate = ESTIMATORS[call.options["estimator"]]
        advantages_bt, returns_bt = estimate(self._options, samples, rewards_bt)
        rows = self._kept(samples)
        chosen = list(rows or range(len(rewards_bt)))
        part = samples.at(chosen)
        metrics = {
            **own,
            **self._candidate_metrics(samples, rows),
            **self._move_coefficient(call, part, coefficient),
            **batch_metrics(part, rewards_bt[chosen], advantages_bt[chosen], returns_bt[chosen]),
            **length_metrics(part.fields["response_mask"], self._workload.response_tokens.maximum),
        }
        weights_bt, mismatch = corrected(part, self._options.correction)
        advantages_bt = advantages_bt.index_copy(0, torch.tensor(chosen), advantages_bt[chosen] * weights_bt)
        outputs = {"advantages": advantages_bt.numpy(), "returns": returns_bt.numpy()}
        return Answer(fields=outputs, metrics={**metrics, **mismatch}, kept=rows)

    def _samples(self, fields: Fields) -> Samples:
        size = self._workload.samples_per_prompt
        return Samples(fields=fields, groups_b=consecutive_groups(len(fields["response_mask"]), size))

    def _charged_in(self, iteration: int | None = None) -> float:
        """The coefficient of the divergence in an iteration; without one, after all that there were."""
        changes = sorted(self._changes.items())
        return math.prod(
            [self._coefficient, *(change for i, change in changes if iteration is None or i < iteration)]
        )

    def _rewards(self, samples: Samples, coefficient: float) -> torch.Tensor:
        """Of tokens: the score, what a response loses by its length, and the penalty for divergence."""
        options, kl_bt = self._options, self._charged_divergence(samples)
        if isinstance(options, SafeRlhfOptions):
            assert self._multiplier is not None, "made with these options"
            penalty = kl_bt, coefficient
            return constrained_rewards(options, samples, penalty, self._multiplier.value)
        scores_b = samples.fields["scores"].float()
        if isinstance(options, DapoOptions):
            scores_b = scores_b + overlong_penalty(
                samples.lengths_b,
                longest=self._workload.response_tokens.maximum,
                buffer=options.overlong_buffer,
                factor=options.overlong_penalty,
            )
        return token_rewards(scores_b, kl_bt, samples.mask_bt, coefficient=coefficient)

    def _charged_divergence(self, samples: Samples) -> torch.Tensor:
        """Of each token; zeros where the reward charges nothing for it."""
        if not self._options.kl_coefficient:
            return torch.zeros_like(samples.old_logprobs_bt)
        return divergence(samples, self._options)

    def _kept(self, samples: Samples) -> tuple[int, ...] | None:
        """Rows of the first prompts that teach DAPO something, by their scores as they were given."""
        if not isinstance(self._options, DapoOptions):
            return None
        rows = differing_groups(samples.fields["scores"].float(), samples.groups_b).nonzero().flatten()
        return tuple(rows[: self._workload.samples].tolist())

    def _move_multiplier(self, call: Call, samples: Samples) -> dict[str, float]:
        """One step of Safe-RLHF's multiplier, before the actor's, by the mean of the latest costs."""
        options = self._options
        if not isinstance(options, SafeRlhfOptions):
            return {}
        assert self._multiplier is not None, "made with these options"
        self._costs.extend(samples.fields["costs"].tolist())
        mean_cost = sum(self._costs) / len(self._costs)
        if call.iteration >= options.multiplier_delay:
            self._multiplier = step(self._multiplier, mean_cost=mean_cost)
        return {
            **summary("critic/cost", samples.fields["costs"]),
            "actor/episode_cost": mean_cost,
            "actor/cost_multiplier": self._multiplier.value,
        }

    def _move_coefficient(self, call: Call, samples: Samples, coefficient: float) -> dict[str, float]:
        """The divergence from the reference and what it was charged at; then a step of the coefficient."""
        if "reference_logprobs" not in samples.fields:
            return {}
        options = self._options
        kl = mean_kl(divergence(samples, options), samples.mask_bt)
        if options.kl_target is not None:
            one = AdaptiveKL(coefficient=1.0, target=options.kl_target, horizon=options.kl_horizon)
            self._changes[call.iteration] = adapt(one, kl=kl, sequences=len(samples.groups_b)).coefficient
        return {"actor/reward_kl_penalty": kl, "actor/reward_kl_penalty_coeff": coefficient}

    def _candidate_metrics(self, samples: Samples, rows: tuple[int, ...] | None) -> dict[str, float]:
        """What was generated before rows were dropped; as a share, how much of it goes on."""
        if rows is None:
            return {}
        return {
            **summary("critic/candidate_score", samples.fields["scores"]),
            "critic/kept_fraction": len(rows) / len(samples.groups_b),
        }


def divergence(samples: Samples, options: AlgorithmOptions) -> torch.Tensor:
    """Estimate of each token's KL(policy, reference), without a gradient."""
    return kl_estimate(samples.old_logprobs_bt, samples.fields["reference_logprobs"], options.kl_estimator)


def corrected(
    samples: Samples, correction: Correction | None
) -> tuple[torch.Tensor | float, dict[str, float]]:
    """What the advantages are multiplied by for the engines' mismatch, and its numbers.

    The weights are constants of at least 0, so that a weighted advantage is a weighted loss, clips included.

    Raises
    ------
    ValueError
        When a correction is asked for, and the actor did not compute its own log-probabilities.
    """
    if "proximal_logprobs" not in samples.fields:
        if correction is not None:
            raise ValueError("correction: the batch has no proximal_logprobs; run what algorithm_of gives")
        return 1.0, {}
    pair = samples.fields["proximal_logprobs"], samples.fields["old_logprobs"]
    metrics = dict(mismatch_metrics(*pair, samples.mask_bt))
    if correction is None:
        return 1.0, metrics
    weights_bt = correction_weights(*pair, samples.mask_bt, correction)
    as_they_are = correction.model_copy(update={"normalise": False})
    metrics |= weight_metrics(correction_weights(*pair, samples.mask_bt, as_they_are), samples.mask_bt)
    return weights_bt, metrics | rejection_metrics(
        kept(*pair, samples.mask_bt, correction.reject), samples.mask_bt
    )


def batch_metrics(
    samples: Samples, rewards_bt: torch.Tensor, advantages_bt: torch.Tensor, returns_bt: torch.Tensor
) -> dict[str, float]:
    """Numbers of scores, rewards, advantages, returns and values, under verl's names.

    The entropy is estimated from the sampled tokens, as the mean of their -log p before the update; verl's is
    computed of the whole distribution at each token, and is what this one has as its expectation.
    """
    mask_bt, metrics = samples.mask_bt, {}
    if "old_values" in samples.fields:
        values = samples.fields["old_values"][mask_bt]
        metrics = {**summary("critic/values", values), **_explained_variance(values, returns_bt[mask_bt])}
    return metrics | {
        **summary("critic/score", samples.fields["scores"]),
        **summary("critic/rewards", rewards_bt.sum(dim=1)),
        **summary("critic/advantages", advantages_bt[mask_bt]),
        **summary("critic/returns", returns_bt[mask_bt]),
        "actor/entropy": float(-samples.old_logprobs_bt[mask_bt].mean()),
    }


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
