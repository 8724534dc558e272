"""How much data one iteration moves."""

from typing import Any

from pydantic import Field, model_validator

from planner.domain.quantities import PositiveInt, Value


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
