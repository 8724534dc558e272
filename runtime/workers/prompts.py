"""The process without a device: it deals out prompts, shows texts, and computes advantages."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from planner.domain.dataflow import CONTROLLER
from planner.domain.plan import Plan
from planner.domain.workload import Workload
from runtime.data import Prompt, PromptLoader, encode_prompts, read_prompts
from runtime.workers.call import Answer, Call, Role
from runtime.workers.numeric import Estimator


def light_roles(plan: Plan) -> Mapping[str, Role]:
    """The roles ``controller``, of the algorithm's numeric calls, and ``prompts``."""
    scenario, settings = plan.scenario, plan.scenario.run
    assert settings is not None, "a plan without run settings is refused"
    (generating,) = (role for role, strategy in plan.strategies.items() if strategy.generate is not None)
    loader = PromptLoader(
        read_prompts(Path(settings.prompts)),
        prompts_per_iteration=scenario.workload.prompts,
        seed=settings.seed,
    )
    tokenizer = AutoTokenizer.from_pretrained(scenario.models[generating].folder)
    return {
        CONTROLLER: Estimator(scenario.algorithm, scenario.workload),
        "prompts": PromptSource(loader, tokenizer, scenario.workload),
    }


class PromptSource:
    """Prompts as tokens, and tokens as texts.

    Raises
    ------
    SpecError
        When a prompt is longer than the workload says; before anything is trained.
    """

    def __init__(self, loader: PromptLoader, tokenizer: PreTrainedTokenizerBase, workload: Workload) -> None:
        self._loader, self._tokenizer, self._workload = loader, tokenizer, workload
        self._encoded(loader.prompts)

    def prompts(self, call: Call, fields: Mapping[str, Any]) -> Answer:
        """Prompts of an iteration, each as often as it has samples; those of the first for shown samples."""
        encoded = self._encoded(self._loader.batch(max(0, call.iteration)))
        repeated = (tokens for tokens in encoded for _ in range(self._workload.samples_per_prompt))
        rows = list(islice(repeated, len(call.rows[0])))
        return Answer(fields={"prompts": rows, "prompt_ids": np.zeros(len(rows), dtype=np.int64)})

    def texts(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Prompt and response of each sample."""
        pairs = [
            (self._text(tokens[: int(mask.nonzero()[0])]), self._text(tokens[mask]))
            for tokens, mask in zip(fields["tokens"], fields["response_mask"], strict=True)
        ]
        return Answer(fields={"texts": pairs})

    def _text(self, tokens: torch.Tensor) -> str:
        return self._tokenizer.decode(tokens.tolist(), skip_special_tokens=True).strip()

    def _encoded(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return encode_prompts(prompts, self._tokenizer, maximum_tokens=self._workload.prompt_tokens.maximum)
