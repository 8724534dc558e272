"""How much data one iteration moves."""

import math
from typing import Literal

from pydantic import Field, model_validator

from planner.domain.lengths import TokenLengths
from planner.domain.quantities import PositiveInt, Seconds, Value

Work = Literal["samples", "greedy", "candidates", "samples and pretraining"]
"""What a call computes: all samples; one greedy response per prompt; all responses before those of no use are
dropped; the samples and the pretraining data that an update learns from beside them."""


class Turns(Value):
    """A conversation with tools or judges: a response in parts, each but the last followed by a wait."""

    count: int = Field(ge=1, le=1000, strict=True)
    """Equal parts of a response's tokens."""
    wait: Seconds
    """Mean of what a sequence waits for an answer, in which the engine keeps its cache; waits are
    exponential, as those of independent services (Kleinrock, "Queueing Systems", section 2.4)."""
    tokens: int = Field(default=0, ge=0, le=10**6, strict=True)
    """Of each answer, which the engine reads like a prompt. They are no part of ``response_tokens``."""

    @property
    def answers(self) -> int:
        """Waits of one sequence."""
        return self.count - 1


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
    turns: Turns | None = None
    """Of each response, where tools or judges answer in between; none for one turn."""

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
        """Mean length of prompt, response and answers between its turns together."""
        return self.prompt_tokens.mean + self.response_tokens.mean + self.answer_tokens

    @property
    def maximum_tokens(self) -> int:
        """Greatest length of the same."""
        return self.prompt_tokens.maximum + self.response_tokens.maximum + self.answer_tokens

    @property
    def answer_tokens(self) -> int:
        """Of the answers between the turns of one response."""
        return self.turns.answers * self.turns.tokens if self.turns else 0

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
