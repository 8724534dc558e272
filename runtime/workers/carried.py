"""Prompts under way: which of them an iteration takes, and which go on in the next one.

Partial rollouts (Kimi k1.5, 2501.12599, section 2.6.1): an iteration ends when enough prompts have all their
samples. The others keep what they have, and go on with the next weights. Nothing is thrown away, nothing is
taken twice, and after a stated number of iterations a prompt is waited for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from runtime.engines.requests import Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A prompt with its samples, as far as they are."""

    prompt_id: int
    prompt: tuple[int, ...]
    started: int
    """Iteration in which it was begun."""
    version: int
    """Updates of the weights that drew its first token."""
    requests: tuple[Request, ...]
    """One for each sample."""

    @property
    def is_finished(self) -> bool:
        """Whether all its samples are."""
        return all(request.done.is_finished for request in self.requests)

    def advanced(self, responses: Sequence[Response]) -> "UnderWay":
        """The prompt with what its samples have become."""
        pairs = zip(self.requests, responses, strict=True)
        return replace(self, requests=tuple(replace(request, so_far=response) for request, response in pairs))

    def as_dict(self) -> dict[str, Any]:
        """The value as JSON can hold it."""
        return asdict(self)

    @staticmethod
    def from_dict(value: dict[str, Any]) -> "UnderWay":
        """The inverse of `as_dict`."""
        requests = tuple(
            Request(**{**one, "so_far": one["so_far"] and Response(**one["so_far"])})
            for one in value["requests"]
        )
        return UnderWay(**{**value, "prompt": tuple(value["prompt"]), "requests": requests})


def is_enough(under_way: Sequence[UnderWay], finished: Sequence[bool], *, wanted: int, due: int) -> bool:
    """Whether an iteration may end.

    Parameters
    ----------
    finished
        Whether each prompt has all its samples.
    due
        Prompts that were begun in this iteration or before it are waited for.
    """
    pairs = list(zip(under_way, finished, strict=True))
    return sum(finished) >= wanted and all(done for one, done in pairs if one.started <= due)


def taken(under_way: Sequence[UnderWay], *, wanted: int) -> tuple[list[UnderWay], list[UnderWay]]:
    """The prompts that an iteration takes, the finished ones that were begun first, and those that go on."""
    finished = sorted((one.started, place) for place, one in enumerate(under_way) if one.is_finished)
    places = {place for _, place in finished[:wanted]}
    return (
        [one for place, one in enumerate(under_way) if place in places],
        [one for place, one in enumerate(under_way) if place not in places],
    )
