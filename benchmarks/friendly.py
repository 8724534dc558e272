"""A reward by rule for the quickstart's task, as verl and as TRL call one."""

from collections.abc import Sequence
from typing import Any

FRIENDLY = frozenset({"charming", "delicious", "friendly", "good", "great", "kind", "lovely", "wonderful"})


def compute_score(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None) -> float:
    """Friendly words of a response, and one point for the subject that was asked about.

    >>> compute_score("", "the waiter was kind and the soup was great.", "the waiter")
    3.0
    """
    words = solution_str.replace(".", " ").replace(",", " ").split()
    return float(sum(word in FRIENDLY for word in words) + (str(ground_truth).split()[-1] in words))


def friendly_reward(
    completions: Sequence[Sequence[dict[str, str]]], ground_truth: Sequence[str], **columns: Any
) -> list[float]:
    """The same for TRL, which hands over a batch of conversations and the data set's columns."""
    return [
        compute_score("", turns[-1]["content"], truth)
        for turns, truth in zip(completions, ground_truth, strict=True)
    ]
