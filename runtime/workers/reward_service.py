"""A reward or cost without a model: a function of the user answers for the role, without devices."""

from collections.abc import Mapping

import torch

from planner.domain.plan import Plan
from runtime.data import prompts_of
from runtime.encoding import tokenizer_of
from runtime.reward_functions import RewardFunction
from runtime.workers.call import Answer, Call


def reward_function(plan: Plan, role: str) -> RewardFunction | None:
    """The function that scores responses for a role, by itself or beside a model; None where it has none."""
    settings, service = plan.scenario.run_settings, plan.scenario.services.get(role)
    if role not in settings.functions:
        return None
    return RewardFunction(
        settings.functions[role],
        prompts_of(settings),
        tokenizer_of(plan),
        role=role,
        concurrency=service.concurrency if service else 1,
    )


class RewardService:
    """Scores whole responses by a function; its fields are tokens, response_mask and prompt_ids."""

    def __init__(self, function: RewardFunction) -> None:
        self._function = function

    def scores(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Weighted score of each sample, shape (b,)."""
        return self._answer("scores", fields)

    def baselines(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Weighted score of each prompt's greedy response, shape (b,)."""
        return Answer(fields=self._answer("baselines", fields).fields)

    def costs(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Weighted cost of each sample, shape (b,)."""
        return self._answer("costs", fields)

    def _answer(self, name: str, fields: Mapping[str, torch.Tensor]) -> Answer:
        scores, metrics = self._function.scores(
            fields["tokens"], fields["response_mask"], fields["prompt_ids"]
        )
        return Answer(fields={name: self._function.settings.weight * scores}, metrics=metrics)
