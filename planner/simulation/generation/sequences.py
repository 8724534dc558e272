"""What a replica works on, what limits it, and what it notes."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one replica holds at once."""

    sequences: int
    cache_tokens: int | None
    """None where every sequence has its greatest length reserved, so that the cache is never full."""
    step_tokens: int
    """Of one step, those of running sequences and of prompts together."""
    chunked: bool


class Run(NamedTuple):
    """Steps of one kind in a row."""

    start_s: float
    end_s: float
    tokens: int
    """Response tokens generated."""
    running: int
    before: int
    """Tokens in the cache at its start."""
    held: int
    """The same at its end."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One response on its way."""

    index: int
    group: int
    prompt: int
    stops: list[int]
    """Response tokens after which it waits for an answer, the next ones last; at the front, all of them."""
    waits: list[float]
    """Seconds of the waits to come, the next one last."""
    produced: int = 0
    own: int = 0
    """Tokens that the cache holds, or has to hold again, beside its prompt's."""
    left: int = 0
    """Tokens to read before it decodes."""
    start: int = 0
    """The replica's count of steps when it began to decode."""
    place: int = 0
    """The greater, the younger."""
    is_cached: bool = True
    """Of one that is away, whether the cache still holds it."""
