"""How parts of a kernel that overlap add up."""

from typing import Any

import numpy as np


def norm(power: float, *parts: Any) -> Any:
    """The p-norm of parts: with power 1 their sum, with an infinite one their maximum."""
    total = sum(np.asarray(part, dtype=float) ** power for part in parts)
    return total ** (1.0 / power)
