"""What an iteration asks of the engines: prompts, and the responses that they will turn out to have."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.domain.lengths import TokenLengths
from planner.domain.workload import Workload

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Responses to be generated, in the order in which they are asked for; arrays of shape (responses,)."""

    group: Whole
    """Number of the prompt; responses of one prompt are neighbours."""
    prompt: Whole
    """Tokens of the prompt."""
    response: Whole
    """Tokens of the response, all turns together."""
    produced: Whole
    """Of these, tokens that an earlier iteration has generated."""
    waits: Floats
    """Seconds after each turn but the last, shape (responses, answers)."""
    answer_tokens: int = 0
    """Tokens that the engine reads after each of these waits."""

    def __len__(self) -> int:
        return len(self.group)

    @property
    def prompts(self) -> int:
        """Those that these responses belong to."""
        return len(np.unique(self.group))

    @property
    def tokens(self) -> int:
        """Response tokens that are left to generate."""
        return int(np.sum(self.response - self.produced))

    def some(self, of: Whole) -> "Requests":
        """Those of these numbers."""
        return replace(
            self,
            group=self.group[of],
            prompt=self.prompt[of],
            response=self.response[of],
            produced=self.produced[of],
            waits=self.waits[of],
        )

    def before(self, others: "Requests") -> "Requests":
        """These, and others after them whose prompts are other ones."""
        first = int(np.max(self.group, initial=-1)) + 1
        return replace(
            self,
            group=np.concatenate([self.group, others.group + first]),
            prompt=np.concatenate([self.prompt, others.prompt]),
            response=np.concatenate([self.response, others.response]),
            produced=np.concatenate([self.produced, others.produced]),
            waits=np.concatenate([self.waits, others.waits]),
        )


def draw(
    workload: Workload, *, seed: int, iteration: int = 0, stream: int = 0, prompts: int | None = None
) -> Requests:
    """Lengths and waits of one iteration; the same for the same seed and iteration.

    Lengths are drawn one by one; the samples of a prompt are as independent as those of different prompts.

    Parameters
    ----------
    stream
        Other numbers for each of several calls of one iteration.
    prompts
        How many, where they are not the workload's.
    """
    generator = np.random.default_rng([seed, iteration, stream])
    count = workload.prompts if prompts is None else prompts
    each = workload.samples_per_prompt
    answers = workload.turns.answers if workload.turns else 0
    response = _drawn(workload.response_tokens, count * each, generator)
    return Requests(
        group=np.repeat(np.arange(count), each),
        prompt=np.repeat(_drawn(workload.prompt_tokens, count, generator), each),
        response=response,
        produced=np.zeros_like(response),
        waits=_waits(workload, (count * each, answers), generator),
        answer_tokens=workload.turns.tokens if workload.turns else 0,
    )


def _drawn(lengths: TokenLengths, count: int, generator: np.random.Generator) -> Whole:
    """Whole tokens, at least one; rounded to the nearest, so that their mean stays."""
    if lengths.is_constant:
        return np.full(count, lengths.maximum, dtype=np.int64)
    found = np.floor(lengths.quantile(generator.random(count)) + 0.5)
    return np.clip(found, 1, lengths.maximum).astype(np.int64)


def _waits(workload: Workload, shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    if workload.turns is None or not shape[1]:
        return np.zeros((shape[0], 0))
    return generator.exponential(workload.turns.wait, shape) if workload.turns.wait else np.zeros(shape)
