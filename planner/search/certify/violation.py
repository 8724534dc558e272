"""What a check finds."""

import math
from dataclasses import dataclass

RELATIVE_TOLERANCE = 1e-9
"""Between a written number and the same number computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing wrong with a plan."""

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def is_equal(one: float | None, other: float | None) -> bool:
    """Whether two numbers are the same but for rounding; both may be missing."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE)
