"""How much data one iteration moves."""

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from planner.domain.quantities import PositiveInt, Value

Work = Literal["samples", "greedy", "candidates", "samples and pretraining"]
"""What a call computes: all samples; one greedy response per prompt; all responses before those of no use are
dropped; the samples and the pretraining data that an update learns from beside them."""


class TokenLengths(Value):
    """Lengths of prompts or responses: their mean and their maximum. A bare number means all equal."""

    mean: float = Field(gt=0)
    maximum: PositiveInt

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"mean": value, "maximum": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _check_mean(self) -> "TokenLengths":
        if self.mean > self.maximum:
            raise ValueError(f"mean ({self.mean:g}) must not exceed maximum ({self.maximum})")
        return self


class Workload(Value):
    """One iteration: its prompts, their lengths, and how the updates cut them up."""

    prompts: PositiveInt
    """Prompts of one iteration, over all devices."""
    samples_per_prompt: PositiveInt = 1
    prompt_tokens: TokenLengths
    response_tokens: TokenLengths
    epochs: PositiveInt = 1
    """Passes over the iteration's samples in each update."""
    mini_batches: PositiveInt = 1
    """Optimizer steps per epoch."""
    resampling: float = Field(default=1.0, ge=1)
    """Samples generated for each one that is kept, where some are dropped (DAPO 2503.14476, section 3.2)."""
    pretraining_tokens: float | None = Field(default=None, ge=0)
    """Pretraining tokens of one iteration, where an update learns from them as well; as many as the samples'
    by default."""

    @model_validator(mode="after")
    def _check_mini_batches(self) -> "Workload":
        if self.mini_batches > self.samples:
            raise ValueError(f"mini_batches ({self.mini_batches}) exceeds the samples ({self.samples})")
        return self

    @property
    def samples(self) -> int:
        """Sequences of one iteration."""
        return self.prompts * self.samples_per_prompt

    @property
    def mean_tokens(self) -> float:
        """Mean length of prompt and response together."""
        return self.prompt_tokens.mean + self.response_tokens.mean

    @property
    def maximum_tokens(self) -> int:
        """Greatest length of prompt and response together."""
        return self.prompt_tokens.maximum + self.response_tokens.maximum

    @property
    def total_tokens(self) -> float:
        """Prompt and response tokens of all samples of one iteration."""
        return self.samples * self.mean_tokens

    def part(self, work: Work) -> "Workload":
        """What calls of that work compute, as a workload of its own.

        Greedy responses and dropped ones are as long as the others. Pretraining tokens come in sequences of
        the samples' mean length.

        >>> lengths = {"prompt_tokens": 100, "response_tokens": 100}
        >>> whole = Workload(prompts=8, samples_per_prompt=4, resampling=1.5, **lengths)
        >>> [whole.part(work).samples for work in ("greedy", "candidates", "samples and pretraining")]
        [8, 48, 64]
        """
        if work == "greedy":
            return self.model_copy(update={"samples_per_prompt": 1})
        if work == "candidates":
            return self.model_copy(update={"prompts": math.ceil(self.prompts * self.resampling)})
        if work == "samples and pretraining":
            tokens = self.total_tokens if self.pretraining_tokens is None else self.pretraining_tokens
            sequences = self.samples + math.ceil(tokens / self.mean_tokens)
            return self.model_copy(update={"prompts": sequences, "samples_per_prompt": 1})
        return self
