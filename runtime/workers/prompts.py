"""Light processes: they deal out prompts, show texts, compute advantages, and ask reward functions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from planner.domain.dataflow import CONTROLLER
from planner.domain.plan import Plan
from planner.domain.run import RunSettings
from planner.domain.workload import Workload
from runtime.data import Prompt, PromptLoader, Text, prompts_of, texts_of
from runtime.encoding import encode_prompts, encode_texts, tokenizer_of
from runtime.workers.call import PROMPTS, Answer, Call, Role
from runtime.workers.numeric import Estimator
from runtime.workers.reward_service import RewardService, reward_function


def light_roles(plan: Plan, names: Sequence[str] = (CONTROLLER, PROMPTS)) -> Mapping[str, Role]:
    """Roles without devices: ``controller``, of the algorithm's numeric calls, ``prompts``, and services."""
    return {name: _light_role(plan, name) for name in names}


def _light_role(plan: Plan, name: str) -> Role:
    scenario = plan.scenario
    if name == CONTROLLER:
        return Estimator(scenario.algorithm, scenario.workload)
    if name != PROMPTS:
        function = reward_function(plan, name)
        assert function is not None, "a service without a function is refused"
        return RewardService(function)
    settings = scenario.run_settings
    return PromptSource(
        prompts_of(settings), texts_of(settings), tokenizer_of(plan), settings, scenario.workload
    )


class PromptSource:
    """Prompts and pretraining data as tokens, and tokens as texts.

    What an iteration gets depends on the seed and the iteration's number alone. Its rows are those of its own
    prompts, as many as the workload has candidates, and behind them those of further prompts, which rounds of
    resampling ask for.

    Raises
    ------
    SpecError
        When a prompt or a text can't be encoded, or a prompt is longer than the workload says and may not be;
        before anything is trained.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[Text],
        tokenizer: PreTrainedTokenizerBase,
        settings: RunSettings,
        workload: Workload,
    ) -> None:
        self._tokenizer, self._workload = tokenizer, workload
        self._encoded = encode_prompts(
            prompts,
            tokenizer,
            maximum_tokens=workload.prompt_tokens.maximum,
            overlong=settings.overlong_prompts,
        )
        deal = {"seed": settings.seed, "shuffle": settings.shuffle}
        candidates = workload.part("candidates").prompts
        self._loader = PromptLoader(tuple(self._encoded), prompts_per_iteration=candidates, **deal)
        count = workload.part("samples and pretraining").samples - workload.samples
        self._texts = encode_texts(texts, tokenizer, maximum_tokens=workload.maximum_tokens) if count else []
        self._text_loader = (
            PromptLoader(range(len(texts)), prompts_per_iteration=count, **deal) if texts and count else None
        )

    def prompts(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Prompts of an iteration, each as often as it has samples, and their numbers.

        Shown samples, of iteration -1, have those of the first. The option ``samples_per_prompt`` is asked in
        the place of the workload's.
        """
        repeats = int(call.options.get("samples_per_prompt", self._workload.samples_per_prompt))
        rows = call.rows[0]
        ids = self._ids(max(0, call.iteration), math.ceil(rows.stop / repeats))
        chosen = [ids[row // repeats] for row in rows]
        tokens = {number: self._encoded[number].tolist() for number in dict.fromkeys(chosen)}
        return Answer(
            fields={
                "prompts": [tokens[number] for number in chosen],
                "prompt_ids": np.array(chosen, dtype=np.int64),
            }
        )

    def pretraining(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Pretraining data of an iteration, each text cut to the workload's longest sample."""
        assert self._text_loader is not None, "an update without pretraining data asks for none"
        ids = self._text_loader.ids(call.iteration)
        return Answer(fields={"pretraining": [self._texts[ids[row]].tolist() for row in call.rows[0]]})

    def texts(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Prompt and response of each sample."""
        pairs = [
            (self._text(tokens[: int(mask.nonzero()[0])]), self._text(tokens[mask]))
            for tokens, mask in zip(fields["tokens"], fields["response_mask"], strict=True)
        ]
        return Answer(fields={"texts": pairs})

    def _ids(self, iteration: int, count: int) -> list[int]:
        """Numbers of the first prompts of an iteration, further ones behind its own, over and over."""
        own = self._loader.ids(iteration)
        if count <= len(own):
            return own[:count]
        further = self._loader.further_ids(iteration)
        return [*own, *(further[place % len(further)] for place in range(count - len(own)))]

    def _text(self, tokens: torch.Tensor) -> str:
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=True).strip()
