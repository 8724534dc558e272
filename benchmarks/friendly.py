"""A reward by rule for the quickstart's task, in TRL's signature, which the runtime takes as well."""

from collections.abc import Sequence
from typing import Any

FRIENDLY = frozenset(
    {"best", "bright", "delight", "dream", "fresh", "gem", "happy", "kind", "lovely", "perfect", "warm"}
)


def friendly_reward(
    completions: Sequence[Sequence[dict[str, str]]], ground_truth: Sequence[str], **columns: Any
) -> list[float]:
    """Of each response: its friendly words, and one point for the subject that it was asked about.

    >>> friendly_reward([[{"content": "the waiter was kind."}], [{"content": "no."}]], ["the waiter"] * 2)
    [2.0, 0.0]
    """
    return [
        _score(turns[-1]["content"], subject)
        for turns, subject in zip(completions, ground_truth, strict=True)
    ]


def _score(text: str, subject: str) -> float:
    words = text.lower().replace(".", " ").replace(",", " ").split()
    return float(sum(word in FRIENDLY for word in words) + (subject in text))
